"""Updates by any optimizer of Keras, on a shard.

The server has the user's optimizer from its configuration, and variables of its own:
those of the model where the shard holds them whole, flat pieces where it cuts them.

Constraints of variables, which Keras applies after each step; on the server here.
"""

from __future__ import annotations

import copy
import importlib
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore import settings
from fdtcore.glue import binding, keras_internals
from fdtcore.keras_types import Variable
from nfdt.glue import learning_rates, optimizer_state
from nfdt.protocol.topology import Range, overlap
from nfdt.rules.blocks import Lanes, SpareArrays
from nfdt.rules.corrections import Correction, Vector
from nfdt.rules.rule_state import restored
from nfdt.rules.updates import Corrected, GradientSums, Late, Update

# Their steps depend on norms or on the shape of a variable.
_WHOLE_VARIABLES = ("Adafactor", "Lamb", "Muon")
_NORMS = ("clipnorm", "global_clipnorm")


def is_elementwise(config: Mapping[str, Any]) -> bool:
    """Whether an optimizer makes the same step on any pieces of the variables."""
    by_norm = any(config["config"].get(name) for name in _NORMS)
    return not by_norm and config["class_name"] not in _WHOLE_VARIABLES


def deserialize(config: Mapping[str, Any]) -> Any:
    """Makes the user's optimizer again.

    Raises:
        ValueError: Its class cannot be imported here.
    """
    name = config["class_name"]
    config = copy.deepcopy(dict(config))  # Keras writes into it
    try:
        made = keras.optimizers.deserialize(copy.deepcopy(config))
        if isinstance(made, keras.optimizers.Optimizer):
            return made
        # Keras takes the name of Lamb, and of a class of a user's, for something else.
        known = getattr(keras.optimizers, name, None)
        if known is None:
            known = getattr(importlib.import_module(config["module"]), name)
        return known.from_config(config["config"])
    except (TypeError, ValueError, ImportError, AttributeError) as error:
        # Keras's text ends with the whole configuration.
        reason = str(error).partition("\n")[0].partition(" Full object config")[0]
        reason = reason.rstrip(".")
        if config.get("module") is None:
            reason = "it is a class of the script itself"
        raise ValueError(
            "a server makes the optimizer from its configuration. Received: "
            f"{name}, which cannot be made so ({reason}). Define it in a module that "
            "can be imported, with get_config."
        ) from error


class KerasUpdate:
    """An update whose optimizer is Keras's; see :class:`nfdt.rules.updates.Update`.

    Args:
        correction: What is done to each gradient.
        config: The optimizer as Keras serialises it.
        params: Parameters of the shard, [P].
        num_workers: Number of workers, M.
        variables: Path and shape of each variable of the whole vector.
        shard: Which part of it this is.
        undecayed: Paths of variables that are excluded from weight decay.
        lanes: Who visits the blocks; None is one lane.
    """

    def __init__(
        self,
        correction: Correction,
        config: Mapping[str, Any],
        params: Vector,
        num_workers: int,
        *,
        variables: Sequence[tuple[str, Sequence[int]]],
        shard: Range,
        undecayed: Collection[str] = (),
        lanes: Lanes | None = None,
    ):
        self.correction = correction
        self._lanes = lanes or Lanes()
        self._corrected = Corrected(correction, params, num_workers, self._lanes)
        self._merged = np.empty_like(params)
        self._places, self._variables = _variables(params, variables, shard)
        self._optimizer = deserialize(config)
        binding.leave_alone(self._optimizer)  # in one process Keras is bound
        excluded = [v for v in self._variables if v.path in undecayed]
        if excluded:  # no part of the configuration
            self._optimizer.exclude_from_weight_decay(excluded)
        self._optimizer.build(self._variables)
        self._step = tf.function(self._apply_all, autograph=False)

    def measure(self, params: Vector, late: Late) -> GradientSums:
        """Looks at all of a gradient that has arrived, once."""
        return self._corrected.measure(params, late)

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
        copies: Sequence[Vector] = (),
    ) -> None:
        """Writes ``params``, and copies of them."""
        merge = self._corrected.merging(params, group, adds_up=adds_up)

        def collect(block: slice, compute: SpareArrays) -> None:
            self._merged[block] = merge(block, compute)

        self._lanes.visit(params.size, collect)
        learning_rates.write(self._optimizer, learning_rate)
        pairs = list(zip(self._places, self._variables, strict=True))
        gradients = [tf.constant(self._merged[p].reshape(v.shape)) for p, v in pairs]
        # In the only thread that TensorFlow has, a function would wait for ever.
        step = self._apply_all if _is_in_only_thread() else self._step
        step(gradients)
        for place, variable in pairs:
            # Not variable.numpy(), which makes a copy of its own before this one.
            value = np.asarray(keras.ops.convert_to_tensor(variable))
            params[place] = value.reshape(-1)
        for vector in copies:
            np.copyto(vector, params)

    def _apply_all(self, gradients: list[tf.Tensor]) -> None:
        self._optimizer.apply(gradients, self._variables)

    def rewrite(self, params: Vector) -> None:
        """Takes over values that were not made here."""
        for place, variable in zip(self._places, self._variables, strict=True):
            variable.assign(params[place].reshape(variable.shape))

    def state(self) -> Mapping[str, Any]:
        """Returns what another one needs to go on from here."""
        return {
            "correction": self._corrected.state,
            "optimizer": optimizer_state.held(self._optimizer),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self._corrected.state = restored(self._corrected.state, state["correction"])
        optimizer_state.restore(self._optimizer, state["optimizer"])

    def adopt(self, user_state: Mapping[str, Any]) -> None:
        """Goes on from the state of a user's optimizer."""
        optimizer_state.adopt(self._optimizer, user_state["slots"])


def _variables(
    params: Vector, variables: Sequence[tuple[str, Sequence[int]]], shard: Range
) -> tuple[list[slice], list[Any]]:
    places, made, start = [], [], 0
    for path, shape in variables:
        stop = start + int(np.prod(shape, dtype=int))
        part = overlap(shard, start, stop)
        if part.size or (stop == start and shard.start <= start < shard.stop):
            place = slice(part.start - shard.start, part.stop - shard.start)
            whole = part == (start, stop)
            value = params[place].reshape(shape) if whole else params[place]
            variable = keras.Variable(value, name=path.rpartition("/")[2])
            keras_internals.set_path(variable, path)
            places.append(place)
            made.append(variable)
        start = stop
    return places, made


def _is_in_only_thread() -> bool:
    """Whether this is part of a worker's step that no other function can run beside."""
    if threading.current_thread() is threading.main_thread():
        return False  # of a server, or of a step that runs eagerly
    chosen = tf.config.threading.get_inter_op_parallelism_threads()
    wanted = os.environ.get("TF_NUM_INTEROP_THREADS", "")
    threads = chosen or (int(wanted) if wanted.isdigit() else 0)
    return (threads or settings.available_cores()) == 1


def described(variables: Sequence[Variable], num_servers: int) -> list[Any]:
    """Returns each variable's constraint as Keras serialises it, or None.

    Raises:
        ValueError: Variables have constraints, and several servers would split them.
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
        inner: Update that is applied before the constraints.
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

    def measure(self, params: Vector, late: Late) -> GradientSums:
        """Looks at all of a gradient that has arrived, once."""
        return self.inner.measure(params, late)

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
        copies: Sequence[Vector] = (),
    ) -> None:
        """Writes ``params``, and copies of them."""
        self.inner.apply(params, group, learning_rate, adds_up=adds_up)
        for place, shape, project in self._places:
            value = keras.ops.convert_to_tensor(params[place].reshape(shape))
            params[place] = np.asarray(project(value)).reshape(-1)
        self.inner.rewrite(params)
        for vector in copies:
            np.copyto(vector, params)

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
