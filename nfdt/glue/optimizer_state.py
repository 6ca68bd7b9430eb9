"""The state of a user's optimizer: its variables here, and their pieces on the servers.

A slot is what an optimizer keeps for a variable: momentum, an average. Keras names it
after both, so one of the same path on a server is the same slot.

What is asked of the user's optimizers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore.glue import keras_internals, state
from fdtcore.glue.wrappers import hands_on, steps_of, within
from fdtcore.keras_types import Model, Optimizer, Variable
from nfdt.protocol.topology import Range, overlap
from nfdt.rules.corrections import Vector
from nfdt.rules.rule_state import arrays_of


def path_of(variable: Variable) -> str:
    """Returns a variable's path, as Keras's optimizers name theirs after it."""
    if isinstance(variable, keras.Variable):
        return str(variable.path)
    return str(variable.name).replace(":", "_")


def optimizers_of(model: Model) -> list[Any]:
    """Returns all optimizers of a model that take steps, in an order of its own."""
    found = [*steps_of(state.compiled_with(model))]
    for one in within(model):
        found += steps_of(one)
    return list({id(o): o for o in found}.values())


def build(optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """Builds an optimizer and, where Keras does so, those that it holds."""
    if not optimizer.built:
        optimizer.build(variables)
        optimizer.built = True


def trained_by(optimizer: Optimizer, variables: Sequence[Variable]) -> list[Any]:
    """Returns those of some variables that an optimizer was built to descend."""
    return [
        v
        for v in variables
        if keras_internals.is_descended(optimizer, v) and not state.is_overwritten(v)
    ]


def follow(optimizer: Optimizer) -> None:
    """Makes an optimizer that hands its steps on count those of all workers.

    Those that it holds count them; it counts one for each call of its ``apply``. A
    user's own that does not count by itself stays at 0.
    """
    for one in [optimizer, *within(optimizer)]:
        if hands_on(one) and one.built:
            built = [o for o in steps_of(one) if o.built]
            counts = [keras_internals.call_count(o).value for o in built]
            own = keras_internals.call_count(one).value
            updates = tf.reduce_max([tf.cast(c, own.dtype) for c in counts])
            if not keras_internals.is_multi(one):
                updates = tf.where(own > 0, updates, own)
            # Not tf.where with True: TensorFlow removes it from a graph, and may then
            # write this before the count of the wrapper itself.
            own.assign(updates)


def has_stepped(optimizer: Optimizer) -> bool:
    """Whether an optimizer has made a step, here or where it was saved."""
    return bool(optimizer.built and call_count(optimizer))


def call_count(optimizer: Optimizer) -> int:
    """Returns how often an optimizer's ``apply`` was called, here or elsewhere."""
    return int(keras_internals.call_count(optimizer).numpy())


def digest(optimizer: Optimizer) -> bytes:
    """Returns what changes when the state does; the learning rate is no part of it."""
    found = hashlib.sha256()
    for variable in _state(optimizer).values():
        found.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return found.digest()


def cut(
    optimizer: Optimizer,
    variables: Sequence[Variable],
    starts: np.ndarray,
    shards: Sequence[Range],
) -> list[dict[str, Any]]:
    """Returns each server's part of the state.

    Args:
        optimizer: The user's optimizer, whose variables are read.
        variables: Those of the flat vector, in order.
        starts: Where each begins in it, and its end.
        shards: The servers' ranges of it.
    """
    parts: list[dict[str, Any]] = [{"slots": {}} for _ in shards]
    owners = _Owners(variables)
    for name, slot in _state(optimizer).items():
        value, owner = np.asarray(slot.numpy()), owners.find(slot)
        for part, shard in zip(parts, shards, strict=True):
            if owner is None or len(shards) == 1:
                part["slots"][name] = value
                continue
            start = int(starts[owner])
            own = overlap(shard, start, start + value.size)
            if own.size:
                piece = value.reshape(-1)[own.start - start : own.stop - start]
                part["slots"][name] = piece
    momentum = _velocity(optimizer, variables)
    if momentum is not None:
        for part, shard in zip(parts, shards, strict=True):
            part["momentum"] = momentum[shard.start : shard.stop]
    return parts


def take(
    optimizer: Optimizer,
    variables: Sequence[Variable],
    starts: np.ndarray,
    found: Sequence[Any],
) -> None:
    """Gives an optimizer the state that servers hold for it.

    Args:
        optimizer: The user's optimizer, whose variables are written.
        variables: Those of the flat vector, in order.
        starts: Where each begins in it, and its end.
        found: The state of each server's update.
    """
    if "rule" in found[0]:
        arrays = [arrays_of(one["rule"]) for one in found]
        if arrays[0] and _velocity(optimizer, variables) is not None:
            _take_velocity(optimizer, variables, starts, [own[0] for own in arrays])
        return
    for name, slot in _state(optimizer).items():
        pieces = [
            np.asarray(one["optimizer"][name])
            for one in found
            if name in one["optimizer"]
        ]
        if pieces and pieces[0].shape == slot.shape:
            slot.assign(pieces[0])
        elif pieces:
            flat = np.concatenate([piece.reshape(-1) for piece in pieces])
            slot.assign(flat.reshape(slot.shape))
    _average_constants(optimizer, variables)


def held(optimizer: Optimizer) -> dict[str, Any]:
    """Returns all of a server's optimizer by name, as :func:`take` takes it."""
    return {name: v.numpy() for name, v in _named(optimizer.variables).items()}


def restore(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Gives a server's optimizer back what :func:`held` returned."""
    for name, variable in _named(optimizer.variables).items():
        variable.assign(state[name])


def adopt(optimizer: Optimizer, slots: Mapping[str, Any]) -> None:
    """Gives a server's optimizer its part of a user's."""
    for name, slot in _state(optimizer).items():
        if name in slots:
            slot.assign(np.asarray(slots[name]).reshape(slot.shape))


def _state(optimizer: Optimizer) -> dict[str, Any]:
    named = _named(optimizer.variables)
    rate = keras_internals.rate_source(optimizer)
    return {n: v for n, v in named.items() if v is not rate}


def _named(variables: Sequence[Variable]) -> dict[str, Any]:
    """Numbers those of one path, of which Adafactor has some, and of no name.

    Nadam has one: Keras then counts over the process, which differs from the server's.
    """
    found: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for variable in variables:
        path = re.sub(r"^variable(_\d+)?$", "variable", variable.path)
        counts[path] = counts.get(path, 0) + 1
        found[f"{path}#{counts[path]}"] = variable
    return found


def _average_constants(optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """What gets no gradient does not change, so that it is its own average."""
    if not optimizer.use_ema:
        return
    trained = {id(v) for v in variables}
    for variable in keras_internals.descended(optimizer):
        if id(variable) not in trained:
            keras_internals.moving_average(optimizer, variable).assign(variable)


class _Owners:
    """Finds the variable that a slot belongs to, by its name and shape."""

    def __init__(self, variables: Sequence[Variable]):
        self._variables = [
            (path_of(v).replace("/", "_") + "_", tuple(v.shape)) for v in variables
        ]

    def find(self, slot: Variable) -> int | None:
        """Returns the variable's index; None for what belongs to none."""
        name = slot.path.rpartition("/")[2]
        fitting = [
            (len(start), index)
            for index, (start, shape) in enumerate(self._variables)
            if name.startswith(start) and shape == tuple(slot.shape)
        ]
        return max(fitting)[1] if fitting else None


def _velocity(optimizer: Optimizer, variables: Sequence[Variable]) -> Vector | None:
    """Returns the momentum of plain SGD as a flat vector, None where it has none."""
    momentums = [
        m for m in getattr(optimizer, "momentums", None) or [] if m is not None
    ]
    if type(optimizer).__name__ != "SGD" or not momentums:
        return None
    places = [keras_internals.index_of(optimizer, v) for v in variables]
    slots = [optimizer.momentums[place].numpy().reshape(-1) for place in places]
    return np.concatenate(slots)


def _take_velocity(
    optimizer: Optimizer,
    variables: Sequence[Variable],
    starts: np.ndarray,
    pieces: Sequence[Vector],
) -> None:
    flat = np.concatenate(pieces)
    for variable, start, stop in zip(variables, starts, starts[1:], strict=False):
        slot = optimizer.momentums[keras_internals.index_of(optimizer, variable)]
        slot.assign(flat[start:stop].reshape(slot.shape))
