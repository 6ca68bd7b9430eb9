"""Rows of all ranks, with a gradient that flows to each rank's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import tree

from fdtcore.glue.step import NeedsCollective, SharedStep, in_xla
from fdtcore.keras_types import Structure


def of_all_ranks(step: SharedStep, data: Structure) -> Any:
    """Joins the rows of each tensor over the ranks, for a loss that all compute alike.

    Its gradient is that through the rows of each rank, added up. What a rank gives is
    weighted by its share, so it is divided by that here::

        g = sum_r share_r (g_r / share_r),   g_r: through the rows of rank r alone

    Args:
        step: The step that is traced or run.
        data: Structure of dense tensors, one row a sample; what has no rows is kept.

    Raises:
        NeedsCollective: XLA compiles the step.
        TypeError: A tensor is ragged or sparse.
    """
    for leaf in tree.flatten(data):
        if isinstance(leaf, tf.RaggedTensor | tf.SparseTensor):
            raise TypeError(
                "a loss that depends on the whole batch needs dense tensors. Received: "
                f"{type(leaf).__name__}. Make it dense, or give each rank whole "
                "batches, --batch per-worker."
            )
    return tree.map_structure(
        lambda leaf: (
            _joined(step, leaf, lambda upstream: upstream)
            if isinstance(leaf, tf.Tensor) and leaf.shape.rank
            else leaf
        ),
        data,
    )


def shared(step: SharedStep, tensor: tf.Tensor) -> tf.Tensor:
    """Joins a tensor's rows over the ranks, each of which makes a loss of its own.

    With l_r the loss of rank r, the gradient of the batch is that of
    ``sum_r share_r l_r``: what all ranks find for a row is weighted and summed.

    Args:
        step: The step that is traced or run.
        tensor: This rank's rows, [n, ...].

    Raises:
        NeedsCollective: XLA compiles the step.
    """

    def weighed(upstream: tf.Tensor) -> tf.Tensor:
        # A loss of no samples may be NaN.
        own = upstream * tf.cast(step.share, upstream.dtype)
        own = tf.where(step.num_samples > 0, own, tf.zeros_like(own))
        return step.collectives.sum([own], "gradient of rows")[0]

    return _joined(step, tf.convert_to_tensor(tensor), weighed)


def _joined(
    step: SharedStep, leaf: tf.Tensor, combined: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    if in_xla():
        raise NeedsCollective("a loss over the whole batch")
    # A rank without samples has been given one of zeros, which is none of the rows.
    length = tf.where(step.num_samples > 0, tf.shape(leaf)[0], 0)
    lengths = step.collectives.rows([length[None]], "number of rows")[0]
    start = tf.reduce_sum(lengths[: step.collectives.process.rank])

    @tf.custom_gradient
    def join(own: tf.Tensor) -> Any:
        whole = step.collectives.rows([own[:length]], "rows of ranks")[0]
        whole.set_shape([None, *own.shape[1:]])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            mine = combined(upstream)[start : start + length]
            mine *= tf.cast(step.sum_scale, mine.dtype)
            return tf.concat([mine, tf.zeros_like(own[length:], mine.dtype)], 0)

        return whole, gradient

    return join(leaf) if leaf.dtype.is_floating else join(tf.stop_gradient(leaf))
