"""Loss reductions whose divisor is the whole batch's.

The engine weighs gradients by each rank's share of the samples, which turns means
over a part into the mean over the batch. Three reductions are no such mean: a sum, a
mean over the unmasked positions, and a mean over sample weights. Each is scaled here
so that the weighted mean over ranks is its value on one process.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
from keras.src.losses import loss as keras_loss

from fdtcore.glue.step import current, sum_over_ranks


def patch() -> None:
    """Puts the scaling behind Keras's reduction of losses."""
    keras_loss.reduce_weighted_values = _scaled(keras_loss.reduce_weighted_values)


def _scaled(inner: Any) -> Any:
    @functools.wraps(inner)
    def reduce(
        values: Any,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> Any:
        loss = inner(values, sample_weight, mask, reduction, dtype)
        step = current()
        if step is None or not step.engine.in_parts or reduction in (None, "none"):
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


def _divisor(sample_weight: Any, mask: Any, reduction: str) -> tf.Tensor | None:
    """What a mean is divided by, float32 scalar; None where it is the sample count."""
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        weight = tf.cast(sample_weight, tf.float32)
        if mask is not None:
            weight, valid = keras_loss.squeeze_or_expand_to_same_rank(
                weight, tf.cast(mask, tf.float32)
            )
            weight = weight * valid
        return tf.reduce_sum(weight)
    if mask is not None:
        return tf.reduce_sum(tf.cast(mask, tf.float32))
    return None
