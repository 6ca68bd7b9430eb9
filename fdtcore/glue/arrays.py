"""Arrays as Keras reads them: its own batches of indices, and the rows behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree

from fdtcore.glue import keras_internals, marks
from fdtcore.keras_types import DataAdapter, Structure, Tensor


def index_passes(adapter: DataAdapter) -> tf.data.Dataset:
    """Returns the indices of an adapter of arrays, int64, a vector for a whole pass.

    They come from an adapter of Keras's own: the same shuffle as in one process.
    """
    places = np.arange(keras_internals.num_samples(adapter) or 0)
    return keras_internals.in_passes(places, adapter)


def index_batches(adapter: DataAdapter) -> tf.data.Dataset:
    """Returns the batches of indices of an adapter of arrays, int64 vectors."""
    return index_passes(adapter).rebatch(adapter.batch_size)


def batch_sizes(adapter: DataAdapter) -> np.ndarray:
    """Returns the length of each batch of an adapter of arrays, int32."""
    sizes = np.full(adapter.num_batches, adapter.batch_size, np.int32)
    if adapter.partial_batch_size:
        sizes[-1] = adapter.partial_batch_size
    return sizes


def _as_they_are(mark: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    return mark, index


def gathered(
    indices: tf.data.Dataset,
    adapter: DataAdapter,
    own: Callable[..., tuple[Tensor, Tensor]] = _as_they_are,
) -> tf.data.Dataset:
    """Maps batches of indices to the rows of the arrays, marked.

    Args:
        indices: Elements are what ``own`` takes.
        adapter: The adapter of the arrays.
        own: Returns a mark and the indices to gather.
    """
    inputs = keras_internals.sliceable_inputs(adapter)
    held = tf.data.Dataset.from_tensors(inputs).repeat()

    @tf.autograph.experimental.do_not_convert
    def gather(element: Structure, data: Structure) -> Any:
        mark, index = own(*element) if isinstance(element, tuple) else own(element)
        rows = tree.traverse(lambda leaf: _gathered(leaf, index), data)
        return marks.marked(mark, rows)

    # One function for all: each costs a trace in every fit, and a stage in every step.
    dataset = tf.data.Dataset.zip((indices, held))
    dataset = dataset.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    # The default ones would serialise the arrays, which are constants here.
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a data set that does not tune itself.

    Autotuning occasionally stalls a pipeline for half a second where the cores are
    busy; of several ranks, others then wait for this one.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _gathered(leaf: Tensor, index: tf.Tensor) -> Any:
    if keras_internals.is_sparse_rows(leaf):
        return keras_internals.sparse_rows(leaf, index)
    if isinstance(leaf, tf.Tensor | tf.RaggedTensor):
        return tf.gather(leaf, index)
    # None tells ``traverse`` to go on into a structure; a leaf is kept.
    return None if isinstance(leaf, list | tuple | dict) else leaf
