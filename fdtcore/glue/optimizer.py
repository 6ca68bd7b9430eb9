"""``Optimizer.apply``: where every training path of Keras ends.

``fit``, a custom ``train_step``, ``apply_gradients`` and a loop written by hand all
call it, so an engine stands there, outermost: before clipping, weight decay and
moving averages, and outside ``LossScaleOptimizer``, which decides from the gradients
it is given whether to take the step. Not the tape: gradient penalties and saliency
maps take gradients that are not for training.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from keras.src.optimizers import base_optimizer, loss_scale_optimizer

from fdtcore.engine import Engine
from fdtcore.glue import binding, calls, loops, refusals
from fdtcore.glue.combining import SUM
from fdtcore.glue.step import NeedsCollective, current, in_xla

# Optimizers whose ``apply`` is running: an inner optimizer's is not a step of its own.
_running: list[Any] = []
_recorded: list[tuple[Any, list[Any], Any]] | None = None
# Eager steps of each, and traced ones, for messages.
_counts: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def recording() -> Iterator[list[tuple[Any, list[Any], Any]]]:
    """Keeps the gradients that are applied inside instead of applying them.

    Yields:
        The list that receives ``(optimizer, gradients, variables)`` of each call.
    """
    global _recorded
    before, _recorded = _recorded, []
    try:
        yield _recorded
    finally:
        _recorded = before


def apply(optimizer: Any, gradients: Any, variables: Any, inner: Any) -> Any:
    """Hands one call of ``optimizer.apply`` to the engine that owns it."""
    engine = binding.engine_of_optimizer(optimizer)
    if engine is None or _running:
        return inner(optimizer, gradients, variables)
    if engine.innermost and hasattr(optimizer, "inner_optimizer"):
        return inner(optimizer, gradients, variables)  # which calls this once more
    gradients = list(gradients)
    if variables is not None:
        variables = list(variables)
    if _recorded is not None:
        _recorded.append((optimizer, gradients, variables))
        return None
    refusals.check_strategy(engine.process, tf.distribute.get_strategy())
    if engine.process.size > 1 and in_xla():
        raise NeedsCollective("a step of an optimizer")
    _running.append(optimizer)
    try:
        with calls.joined(engine, _label(optimizer)):
            return engine.apply(
                optimizer,
                gradients,
                variables,
                share=_share(engine),
                inner=functools.partial(inner, optimizer),
            )
    finally:
        _running.pop()


def _label(optimizer: Any) -> str:
    _counts[optimizer] = _counts.get(optimizer, 0) + 1
    return f"step {_counts[optimizer]} of {type(optimizer).__name__}"


def _share(engine: Engine) -> tf.Tensor:
    """This rank's share of the samples of the batch whose gradients are applied."""
    step = current()
    if step is not None:
        if step.next_kind("gradients") == SUM:
            # Those of all ranks add up; one without samples has none to add.
            return tf.cast(step.num_samples > 0, tf.float32)
        return step.share
    if not engine.in_parts:
        return engine.share(1)
    loops.note_apply(engine)
    return engine.share(loops.num_samples())


def patch() -> None:
    """Puts :func:`apply` in front of Keras's own."""
    for cls in (base_optimizer.BaseOptimizer, loss_scale_optimizer.LossScaleOptimizer):
        cls.apply = _in_front_of(cls.apply)


def _in_front_of(inner: Any) -> Any:
    @functools.wraps(inner)
    def wrapper(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        return apply(self, grads, trainable_variables, inner)

    return wrapper
