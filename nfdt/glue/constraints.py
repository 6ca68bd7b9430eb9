"""Constraints of variables, which Keras applies after each step; on the server here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from nfdt.rules.corrections import Vector
from nfdt.rules.updates import Late, Update


def described(variables: Sequence[Any], num_servers: int) -> list[Any]:
    """Returns each variable's constraint as Keras serialises it, or None.

    Raises:
        ValueError: There are constraints, and several servers that cut variables.
    """
    found = [getattr(variable, "constraint", None) for variable in variables]
    some = [type(one).__name__ for one in found if one is not None]
    if some and num_servers > 1:
        raise ValueError(
            "several servers need variables without constraints, which look at whole "
            f"ones. Received: {some[0]} with {num_servers} servers. Use --servers 1."
        )
    return [one and keras.constraints.serialize(one) for one in found]


class Constrained:
    """An update whose result is projected; see :class:`nfdt.rules.updates.Update`.

    Args:
        inner: The update.
        constraints: As :func:`described` made them, one for each variable.
        shapes: Of the variables, in the order of the vector, which is whole.
    """

    def __init__(
        self,
        inner: Update,
        constraints: Sequence[Any],
        shapes: Sequence[Sequence[int]],
    ):
        self.inner, self.correction = inner, inner.correction
        self._places = []
        start = 0
        for constraint, shape in zip(constraints, shapes, strict=True):
            stop = start + int(np.prod(shape, dtype=int))
            if constraint is not None:
                project = keras.constraints.deserialize(constraint)
                self._places.append((slice(start, stop), tuple(shape), project))
            start = stop

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
    ) -> None:
        """Writes ``params``."""
        self.inner.apply(params, group, learning_rate, adds_up=adds_up)
        for place, shape, project in self._places:
            value = keras.ops.convert_to_tensor(params[place].reshape(shape))
            params[place] = np.asarray(project(value)).reshape(-1)
        self.inner.rewrite(params)

    def rewrite(self, params: Vector) -> None:
        """Takes over parameters that were not made here."""
        self.inner.rewrite(params)

    def state(self) -> Mapping[str, Any]:
        """Returns what another one needs to go on from here."""
        return self.inner.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self.inner.load(state)

    def adopt(self, user_state: Mapping[str, Any]) -> None:
        """Goes on from the state of a user's optimizer."""
        self.inner.adopt(user_state)
