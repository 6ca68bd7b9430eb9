"""Losses that are not a mean over samples, scaled to their value on all ranks.

The engine weights gradients by each rank's share of the samples, which turns means
over a part into the mean over the batch. Three of Keras's reductions are no such
mean: a sum, a mean over the unmasked positions, and a mean over sample weights. Each
is scaled here so that the weighted mean over ranks is its value on one process.

A loss that has reduced the batch itself is of a kind that was determined
(``rehearsal``): a mean is left alone, a sum is scaled, and any other (Dice of the
batch, a contrast of its samples) is computed on the rows of all ranks.

Layers of float8 keep what they see in the backward pass. In models with them the loss
is weighted before that pass, not the gradients after it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras import losses
from keras.optimizers import LossScaleOptimizer

from fdtcore.glue import binding, combining, keras_internals, rows, state
from fdtcore.glue.step import SharedStep, shared, sum_over_ranks, watching
from fdtcore.keras_types import Loss, Model, Optimizer, Structure, Tensor

# Functions of Keras's own that may look at the whole batch.
_OF_BATCHES = ("circle", "dice", "tversky")


def patch() -> None:
    """Puts the scaling behind Keras's losses and their reduction."""
    module = keras_internals.loss_module
    module.reduce_weighted_values = _scaled(module.reduce_weighted_values)
    losses.Loss.__call__ = _called(losses.Loss.__call__)
    keras_internals.ADDED_LOSS.wrap(_added)
    for cls in (keras_internals.BaseOptimizer, LossScaleOptimizer):
        cls.scale_loss = _weighed_before(cls.scale_loss)


def is_of_samples(loss: Loss) -> bool:
    """Whether a loss is one of Keras's own that gives one value for each sample.

    Args:
        loss: As ``compile`` takes it: a loss, a function, a name, or None.
    """
    if loss is None:
        return True
    if isinstance(loss, str):
        loss = losses.get(loss) if loss.lower() not in ("crossentropy", "ce") else None
        return loss is None or is_of_samples(loss)
    made = getattr(loss, "fn", loss) if isinstance(loss, losses.Loss) else loss
    made = made if inspect.isfunction(made) else type(made)
    return made.__module__.startswith("keras.") and made.__name__ not in _OF_BATCHES


def note(loss: Loss, kind: str) -> bool:
    """Notes what a loss makes of a batch; returns whether that is news."""
    kinds = binding.context().loss_kinds
    before = kinds.get(loss, combining.UNKNOWN)
    kinds[loss] = combining.agreed([kind, before])
    return kinds[loss] != before


def _called(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def call(
        self: Loss, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> Any:
        step, record = shared(), watching()
        if record is not None:
            record.losses.append((self, y_true, y_pred))
        kind = binding.context().loss_kinds.get(self, combining.UNKNOWN)
        if (
            step is None
            or kind in (combining.UNKNOWN, combining.SAMPLES)
            or binding.context().is_loss_scaled.now
        ):
            return inner(self, y_true, y_pred, sample_weight)
        is_weighed = sample_weight is not None or keras_mask(y_pred) is not None
        if kind == combining.OTHER or is_weighed:
            given = y_true, y_pred, sample_weight
            y_true, y_pred, sample_weight = _of_all_ranks(step, given)
        with _reduced():
            loss = inner(self, y_true, y_pred, sample_weight)
        if kind == combining.SUM and not is_weighed:
            loss *= tf.cast(step.sum_scale, loss.dtype)
        return loss

    return call


def keras_mask(y_pred: Tensor) -> Any:
    """The mask that Keras keeps with predictions, if there is one."""
    if not isinstance(y_pred, tf.Tensor):
        return None
    return keras_internals.get_keras_mask(y_pred)


def _of_all_ranks(step: SharedStep, given: Structure) -> Any:
    mask = keras_mask(given[1])
    given, mask = rows.of_all_ranks(step, (given, mask))
    if mask is not None:
        keras_internals.set_keras_mask(given[1], mask)
    return given


@contextlib.contextmanager
def _reduced() -> Iterator[None]:
    with binding.context().is_loss_scaled.given(True):
        yield


def _added(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def aggregate(self: Model, loss: Tensor) -> Any:
        loss = inner(self, loss)
        step, record = shared(), watching()
        if record is not None:
            record.terms.append(loss)
        if step is None or step.next_kind("terms") != combining.SUM:
            return loss
        return loss * tf.cast(step.sum_scale, loss.dtype)

    return aggregate


def _weighed_before(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def scale_loss(self: Optimizer, loss: Tensor) -> Any:
        step = shared()
        if step is not None and _keeps_gradients(step.model):
            loss = step.weigh_loss(self, loss)
        return inner(self, loss)

    return scale_loss


def _keeps_gradients(model: Model) -> bool:
    return bool(state.overwritten(model))


def _scaled(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def reduce(
        values: Tensor,
        sample_weight: Tensor = None,
        mask: Tensor = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: str | tf.DType | None = None,
    ) -> Any:
        loss = inner(values, sample_weight, mask, reduction, dtype)
        step = shared()
        if step is None or reduction in (None, "none"):
            return loss
        if binding.context().is_loss_scaled.now:
            return loss
        if reduction == "sum":
            return loss * tf.cast(step.sum_scale, loss.dtype)
        divisor = _divisor(sample_weight, mask, reduction)
        if divisor is None:
            return loss
        total = sum_over_ranks(step, divisor, "divisor of the loss")
        scale = tf.math.divide_no_nan(divisor, total) * step.sum_scale
        return loss * tf.cast(scale, loss.dtype)

    return reduce


def _divisor(sample_weight: Tensor, mask: Tensor, reduction: str) -> tf.Tensor | None:
    """What a mean is divided by, float32 scalar; None where it is the sample count."""
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        weight = tf.cast(sample_weight, tf.float32)
        if mask is not None:
            weight, valid = keras_internals.loss_module.squeeze_or_expand_to_same_rank(
                weight, tf.cast(mask, tf.float32)
            )
            weight = weight * valid
        return tf.reduce_sum(weight)
    if mask is not None:
        return tf.reduce_sum(tf.cast(mask, tf.float32))
    return None
