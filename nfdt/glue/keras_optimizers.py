"""What is asked of the user's optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers import MultiOptimizer

from fdtcore.glue import state
from fdtcore.glue.wrappers import hands_on, steps_of, within


def path_of(variable: Any) -> str:
    """Returns a variable's path, as Keras's optimizers name theirs after it."""
    if isinstance(variable, keras.Variable):
        return str(variable.path)
    return str(variable.name).replace(":", "_")


def optimizers_of(model: Any) -> list[Any]:
    """Returns all optimizers of a model that take steps, in an order of its own."""
    found = [*steps_of(model.optimizer)]
    for one in within(model):
        found += steps_of(one)
    return list({id(o): o for o in found}.values())


def build(optimizer: Any, variables: Sequence[Any]) -> None:
    """Builds an optimizer and, where Keras does so, those that it holds."""
    if not optimizer.built:
        optimizer.build(variables)
        optimizer.built = True


def trained_by(optimizer: Any, variables: Sequence[Any]) -> list[Any]:
    """Returns those of some variables that an optimizer was built to descend."""
    known = optimizer._trainable_variables_indices
    return [
        v
        for v in variables
        if optimizer._var_key(v) in known and not state.is_overwritten(v)
    ]


def follow(optimizer: Any) -> None:
    """Makes an optimizer that hands its steps on count those of all workers.

    Those that it holds count them; it counts one for each call of its ``apply``. A
    user's own that does not count by itself stays at 0.
    """
    for one in [optimizer, *within(optimizer)]:
        if hands_on(one) and one.built:
            counts = [o._iterations.value for o in steps_of(one) if o.built]
            own = one._iterations.value
            updates = tf.reduce_max([tf.cast(c, own.dtype) for c in counts])
            counts_itself = isinstance(one, MultiOptimizer) or own > 0
            own.assign(tf.where(counts_itself, updates, own))


def has_stepped(optimizer: Any) -> bool:
    """Whether an optimizer has made a step, here or where it was saved."""
    return bool(optimizer.built and int(optimizer._iterations.numpy()))
