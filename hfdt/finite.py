"""The treatment of steps whose gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore.glue import wrappers
from fdtcore.keras_types import Gradient, Optimizer, Variable
from hfdt.communicator import HorovodCommunicator
from hfdt.gradients import Reduced


class NonFiniteGradient(ArithmeticError):
    """A gradient holds NaN or infinity."""


# Whether the fit that runs has a callback that ends training at a NaN by itself.
user_handles_nan: list[bool] = [False]


def policy(chosen: str, optimizer: Optimizer) -> str:
    """Returns what to do: ``"raise"``, ``"skip"`` or ``"pass"``.

    A ``LossScaleOptimizer`` expects infinities and handles them alike on all ranks,
    since it sees what all ranks see.
    """
    held = [optimizer, *wrappers.within(optimizer)]
    is_scaled = any(isinstance(o, keras.optimizers.LossScaleOptimizer) for o in held)
    if user_handles_nan[-1] or is_scaled:
        return "pass"
    return chosen


def apply(
    reduced: Reduced,
    variables: list[Variable],
    *,
    policy: str,
    communicator: HorovodCommunicator,
    note: Callable[[Exception], None],
    name: str,
    inner: Callable[[Any, Any], Any],
) -> Any:
    """Applies the reduced gradients, if they are finite or that does not matter.

    What all ranks add up is alike on all, so they decide alike.

    Args:
        reduced: Gradients after the reduction.
        variables: Variables of the gradients, in the same order.
        policy: What to do otherwise.
        communicator: Operations among the ranks.
        note: Is told of a gradient that is not finite: TensorFlow, which runs the
            step, raises an error of its own then.
        name: Name of the operation on the wire.
        inner: The optimizer's own ``apply``.
    """
    if policy == "pass" or not reduced.checked:
        return inner(reduced.gradients, variables)
    complete = tf.convert_to_tensor(reduced.complete)
    good = tf.logical_or(
        tf.logical_not(complete),
        tf.reduce_all([_finite(one) for one in reduced.checked]),
    )
    if policy == "skip":
        tf.cond(good, lambda: _nothing(inner(reduced.gradients, variables)), tf.no_op)
        return None

    def report() -> Any:
        return _report(reduced, variables, communicator, note, f"{name}.finite")

    check = tf.cond(good, tf.no_op, report)
    gradients = reduced.gradients
    if not tf.executing_eagerly():
        # Not around the step: a wrapper may make variables in it, and those are lifted
        # out of the graph with all that stands before them.
        with tf.control_dependencies([check]):
            gradients = [None if g is None else tf.identity(g) for g in gradients]
    return inner(gradients, variables)


def _report(
    reduced: Reduced,
    variables: list[Variable],
    communicator: HorovodCommunicator,
    note: Callable[[Exception], None],
    name: str,
) -> Any:
    own = tf.stack([tf.cast(_finite(g), tf.int32) for g in reduced.weighted()])
    flags = communicator.allgather([own[None]], name)[0]
    paths = [
        getattr(v, "path", v.name)
        for v, g in zip(variables, reduced.gradients, strict=True)
        if g is not None
    ]

    def found(flags: np.ndarray) -> np.int32:
        finding = NonFiniteGradient(message(flags, paths))
        note(finding)
        raise finding

    if tf.executing_eagerly():
        return found(flags.numpy())
    return tf.group(tf.numpy_function(found, [flags], tf.int32))


def message(flags: np.ndarray, paths: list[str]) -> str:
    """Says which gradients are not finite.

    Args:
        flags: [ranks, variables] int, 1 where the rank's own gradient is finite.
        paths: Path of each variable.
    """
    bad = np.argwhere(flags == 0)
    if len(bad) == 0:
        what = "a sum over ranks that overflows, though each rank's part is finite"
    else:
        rank, index = bad[0]
        what = f"NaN or infinity on rank {rank} in the gradient of {paths[index]}"
        if len(bad) > 1:
            others = sorted({int(r) for r, _ in bad} - {int(rank)})
            also = f", also on rank {', '.join(map(str, others))}" if others else ""
            what += f" (and {len(bad) - 1} more{also})"
    return (
        f"gradients must be finite. Received: {what}. Lower the learning rate or look "
        'at that rank\'s data; nonfinite="skip" leaves such steps out, '
        'nonfinite="pass" lets them through.'
    )


def _finite(gradient: Gradient) -> tf.Tensor:
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    return tf.reduce_all(tf.math.is_finite(values))


def _nothing(result: object) -> Any:
    del result
    return tf.no_op()
