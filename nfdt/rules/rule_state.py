"""The state of a rule: a NamedTuple whose arrays are worked through in blocks.

A field is a number, an array whose last axis is P, None, or a state within. A rule
returns its state anew; whoever applies it writes the arrays in place, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.floating]
# Of a type of each rule's own, which only that rule reads; others hand them on.
State: TypeAlias = Any  # a NamedTuple, see above
Scalars: TypeAlias = Any  # what a block needs of the whole push; None for nothing


class NoState(NamedTuple):
    """The state of a rule that remembers nothing."""


def arrays_of(state: State) -> list[Vector]:
    """Returns the arrays of a state, in the order of its fields."""
    return [value for value in state if isinstance(value, np.ndarray)]


def cut(state: State, block: slice) -> State:
    """Returns a state with one block of each array."""
    if not arrays_of(state):
        return state
    fields = zip(state._fields, state, strict=True)
    cuts = {name: v[block] for name, v in fields if isinstance(v, np.ndarray)}
    return state._replace(**cuts)


def write(
    places: Sequence[Vector],
    values: Sequence[Any],
    where: npt.NDArray[np.bool_] | bool = True,
) -> None:
    """Writes arrays in place.

    Args:
        places: The arrays.
        values: What they are to be.
        where: The elements that are written.
    """
    for place, value in zip(places, values, strict=True):
        if value is not place:
            np.copyto(place, value, where=where)


def restored(state: State, values: Sequence[Any]) -> State:
    """Returns a state that was kept as a list, with its arrays written in place.

    Args:
        state: One of the same rule; its arrays are written.
        values: The fields that were kept.
    """
    found = []
    for own, value in zip(state, values, strict=True):
        if isinstance(own, np.ndarray):
            write([own], [value])
            found.append(own)
        else:
            found.append(restored(own, value) if isinstance(own, tuple) else value)
    return type(state)(*found)
