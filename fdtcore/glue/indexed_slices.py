"""Sparse gradients, in which each row of a table stands once."""

from __future__ import annotations

import tensorflow as tf


def summed(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Adds up rows of the same index, in the order in which they stand.

    Args:
        gradient: Rows of a table, in any order.

    Returns:
        Each row once, in the order of their first ones.
    """
    indices, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(indices))
    return tf.IndexedSlices(values, indices, gradient.dense_shape)
