"""Batches as structures of tensors: their size, their parts, and empty ones."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import tree

from fdtcore import batch_shares
from fdtcore.keras_types import Structure, Tensor
from fdtcore.process import Process


def count(data: Structure) -> tf.Tensor:
    """Number of samples in a batch: the leading dimension of its first tensor."""
    for leaf in tree.flatten(data):
        if isinstance(leaf, tf.RaggedTensor):
            return tf.cast(leaf.nrows(), tf.int32)
        if isinstance(leaf, tf.SparseTensor):
            return tf.cast(leaf.dense_shape[0], tf.int32)
        if getattr(leaf, "shape", None) is not None and leaf.shape.rank:
            return tf.shape(leaf)[0]
    return tf.constant(1)


def part(data: Structure, process: Process) -> Any:
    """Returns this rank's part of one batch.

    Args:
        data: Structure of tensors that share their leading dimension.
        process: Whose part it is.

    Returns:
        The same structure; leaves without a leading dimension are kept as they are.
    """
    start, stop = batch_shares.bounds(count(data), process.rank, process.size)
    return tree.map_structure(lambda leaf: rows(leaf, start, stop), data)


def rows(leaf: Tensor, start: Tensor, stop: Tensor) -> Any:
    """Returns rows ``start`` to ``stop`` of one leaf; one without rows as it is."""
    if isinstance(leaf, tf.SparseTensor):
        shape = leaf.dense_shape
        first = tf.concat([[tf.cast(start, tf.int64)], tf.zeros_like(shape[1:])], 0)
        size = tf.concat([[tf.cast(stop - start, tf.int64)], shape[1:]], 0)
        rows = tf.sparse.slice(leaf, first, size)
        # Slicing forgets what is known of the other dimensions.
        rows.set_shape([None, *leaf.shape[1:]])
        return rows
    if getattr(leaf, "shape", None) is not None and leaf.shape.rank:
        return leaf[start:stop]
    return leaf


def all_rows(leaf: Tensor) -> Any:
    """Returns a leaf as :func:`part` would, its leading dimension unknown."""
    return rows(leaf, 0, tf.shape(leaf)[0]) if isinstance(leaf, tf.Tensor) else leaf


def fill(data: Structure, num_samples: tf.Tensor) -> Any:
    """Gives a rank without samples one of zeros, so that no mean is taken of none.

    Its gradient has share 0, and what it did to metrics and moving statistics is
    undone after the step.
    """
    leaves = tree.flatten(data)
    dense = [
        isinstance(leaf, tf.Tensor) and leaf.shape.rank not in (None, 0)
        for leaf in leaves
    ]
    filled = [leaf for leaf, is_dense in zip(leaves, dense) if is_dense]
    if not filled or all(leaf.shape[0] for leaf in filled):
        return data

    def zeros() -> list[tf.Tensor]:
        return [
            tf.zeros(tf.concat([[1], tf.shape(leaf)[1:]], 0), leaf.dtype)
            if leaf.dtype != tf.string
            else tf.fill(tf.concat([[1], tf.shape(leaf)[1:]], 0), "")
            for leaf in filled
        ]

    chosen = tf.cond(num_samples > 0, lambda: filled, zeros)
    for new, old in zip(chosen, filled):
        new.set_shape([None, *old.shape[1:]])
    values = iter(chosen)
    return tree.pack_sequence_as(
        data, [next(values) if d else leaf for leaf, d in zip(leaves, dense)]
    )
