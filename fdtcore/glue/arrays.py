"""Arrays as Keras reads them: its own batches of indices, and the rows behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras.src import tree
from keras.src.trainers.data_adapters import array_data_adapter, array_slicing


def index_batches(adapter: Any) -> tf.data.Dataset:
    """Returns the batches of indices of an adapter of arrays.

    They come from an adapter of Keras's own: the same shuffle as in one process.
    """
    return array_data_adapter.ArrayDataAdapter(
        np.arange(adapter._num_samples),
        batch_size=adapter._batch_size,
        shuffle=adapter._shuffle,
    ).get_tf_dataset()


def gathered(indices: tf.data.Dataset, adapter: Any) -> tf.data.Dataset:
    """Maps batches of indices, perhaps behind a mark, to the rows of the arrays.

    Args:
        indices: Elements are ``index`` or ``(mark, index)``.
        adapter: The adapter of the arrays.
    """
    inputs = tree.lists_to_tuples(
        array_slicing.convert_to_sliceable(adapter._inputs, target_backend="tensorflow")
    )
    held = tf.data.Dataset.from_tensors(inputs).repeat()

    def gather(element: Any, data: Any) -> Any:
        *mark, index = element if isinstance(element, tuple) else (element,)
        rows = tree.traverse(lambda leaf: _gathered(leaf, index), data)
        return (*mark, rows) if mark else rows

    dataset = tf.data.Dataset.zip((indices, held))
    dataset = dataset.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    # The default ones would serialise the arrays, which are constants here.
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a data set that does not tune itself.

    Autotuning halts a pipeline for half a second now and then where the cores are
    busy; of several ranks, others then wait for this one.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _gathered(leaf: Any, index: tf.Tensor) -> Any:
    if isinstance(leaf, array_slicing.TensorflowSparseWrapper):
        return array_slicing.slice_tensorflow_sparse_wrapper(leaf, index)
    if isinstance(leaf, tf.Tensor | tf.RaggedTensor):
        return tf.gather(leaf, index)
    # None tells ``traverse`` to go on into a structure; a leaf is kept.
    return None if isinstance(leaf, list | tuple | dict) else leaf
