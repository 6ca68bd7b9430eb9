"""The part of each batch that is this rank's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree

from fdtcore import output
from fdtcore.glue import arrays, batches, binding, keras_internals, marks, readers
from fdtcore.glue.keras_internals import ArrayDataAdapter, DataAdapter
from fdtcore.keras_types import Dataset, Structure
from fdtcore.process import Process


@contextlib.contextmanager
def adapting(make: Callable[[DataAdapter], DataAdapter] | None) -> Iterator[None]:
    """Puts an adapter of ours around those made inside; none with None."""
    with binding.context().adapt.given(make):
        yield


@contextlib.contextmanager
def splitting(process: Process, batch: str) -> Iterator[None]:
    """Hands out parts of batches for the data read inside."""

    def part(adapter: DataAdapter) -> DataAdapter:
        if isinstance(adapter, PartAdapter):
            return adapter
        own = PartAdapter(adapter, process, batch)
        output.say(process, str(own))
        return own

    with adapting(part):
        yield


def parts_of(dataset: tf.data.Dataset, process: Process) -> tf.data.Dataset:
    """Maps a data set of batches to this rank's part of each, marked with its size."""

    @tf.autograph.experimental.do_not_convert
    def own(*batch: Any) -> Any:
        whole = batch[0] if len(batch) == 1 else batch
        return marks.marked(*_own_part(whole, process))

    return dataset.map(own, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _own_part(batch: Structure, process: Process) -> tuple[tf.Tensor, Any]:
    """Returns how many samples a batch has, and this rank's part of it."""
    return batches.count(batch), batches.part(batch, process)


def note_split(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Notes that a data set holds parts, not to be split again, and returns it."""
    binding.context().parts.add(dataset)
    return dataset


def is_split(dataset: tf.data.Dataset) -> bool:
    """Whether a data set, or one that it is made from, holds parts."""
    return dataset in binding.context().parts or any(
        is_split(d) for d in keras_internals.inputs_of(dataset)
    )


def dealt(dataset: tf.data.Dataset, process: Process) -> tf.data.Dataset:
    """Deals whole batches to the ranks in turn, each rank one of every ``size``.

    Where the last round is short, a rank without a batch gets an empty one, so that
    all make the same number of steps.
    """

    @tf.autograph.experimental.do_not_convert
    def own(*window: Any) -> tf.data.Dataset:
        turn = tf.data.Dataset.zip(window if len(window) > 1 else window[0])
        empty = turn.take(1).map(lambda *b: _cut(b, 0))
        mine = turn.skip(process.rank).take(1).map(lambda *b: _cut(b, None))
        return mine.concatenate(empty).take(1)

    return dataset.window(process.size).flat_map(own)


def dealt_indices(
    indices: tf.data.Dataset, process: Process, sizes: np.ndarray
) -> tf.data.Dataset:
    """Deals batches of indices as :func:`dealt` does, but knows their sizes.

    Args:
        indices: Batches of indices, int64 vectors.
        process: Whose turn is taken.
        sizes: Length of each batch, int32.

    Returns:
        A data set of ``(n, indices)``: n samples in the batches of all ranks.
    """
    firsts = np.arange(0, len(sizes), process.size)
    totals = np.add.reduceat(sizes, firsts, dtype=np.int32)
    own = indices.shard(process.size, process.rank)
    if process.rank >= len(sizes) - firsts[-1]:
        empty = tf.data.Dataset.from_tensors(tf.zeros([0], tf.int64))
        own = own.concatenate(empty)
    return tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(totals), own))


def _cut(batch: Structure, stop: int | None) -> Any:
    batch = batch[0] if len(batch) == 1 else batch
    count = batches.count(batch) if stop is None else stop
    return tree.map_structure(lambda leaf: batches.rows(leaf, 0, count), batch)


class WrappedAdapter(DataAdapter):
    """A data adapter of Keras over another one, which says how large its batches are.

    Args:
        inner: The adapter of the user's data.
    """

    def __init__(self, inner: DataAdapter):
        self.inner = inner

    @property
    def kind(self) -> str:
        """Name of the kind of data, as Keras calls its adapter."""
        return type(self.inner).__name__.removesuffix("Adapter")

    @property
    def batch_size(self) -> int | None:
        return self.inner.batch_size

    @property
    def has_partial_batch(self) -> bool | None:
        return self.inner.has_partial_batch

    @property
    def partial_batch_size(self) -> int | None:
        return self.inner.partial_batch_size

    def on_epoch_begin(self) -> None:
        self.inner.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.inner.on_epoch_end()


class PartAdapter(WrappedAdapter):
    """A data adapter of Keras that yields this rank's part of what another yields.

    A part is marked with the samples of all ranks' parts where these are known, so that
    a rank need not ask the others for its share.

    Args:
        inner: The adapter of the user's data.
        process: Whose part it is.
        batch: ``"global"``: a part of each batch; ``"per_worker"``: whole batches,
            dealt in turn.
    """

    def __init__(self, inner: DataAdapter, process: Process, batch: str):
        super().__init__(inner)
        self.process, self.batch = process, batch
        run = binding.context().fit_run.now
        if run is not None:
            run.follow(inner, process.size if batch == "per_worker" else 1)
        self._is_python = process.size > 1 and readers.hold(inner)

    def get_tf_dataset(self) -> tf.data.Dataset:
        if self.process.size == 1:
            return self.inner.get_tf_dataset()
        if isinstance(self.inner, ArrayDataAdapter):
            return self._from_arrays()
        dataset = self.inner.get_tf_dataset()
        _refuse_unseeded(dataset)
        if not self._is_python:
            return self._own(dataset).prefetch(tf.data.AUTOTUNE)
        # Only what the user has made is left to tune itself.
        own = self._own(readers.in_threads_of_its_own(dataset))
        return arrays.untuned(own).prefetch(tf.data.AUTOTUNE)

    def _own(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        if is_split(dataset):
            return dataset
        if self.batch == "per_worker":
            return dealt(dataset, self.process)
        return parts_of(dataset, self.process)

    def after(self, batches: int) -> tf.data.Dataset | None:
        """Returns what a pass has behind some batches, without reading these.

        Args:
            batches: Batches of this rank to pass over.

        Returns:
            None where that is not known: what reads the data can pass over them.
        """
        if not isinstance(self.inner, ArrayDataAdapter) or self.batch != "global":
            return None
        dataset = self._from_arrays(batches)
        if self.process.size > 1:
            return dataset
        # As Keras hands them out on one process: another shape would be traced anew.
        size = None if self.partial_batch_size else self.batch_size

        @tf.autograph.experimental.do_not_convert
        def unmarked(element: Structure) -> Any:
            _, rows = marks.unmarked(element)
            for leaf in tree.flatten(rows):
                if isinstance(leaf, tf.Tensor):
                    leaf.set_shape([size, *leaf.shape[1:]])
            return rows

        return dataset.map(unmarked)

    def _from_arrays(self, skipped: int = 0) -> tf.data.Dataset:
        """Splits batches of indices and gathers only this rank's rows."""
        indices = arrays.index_batches(self.inner)
        if self.batch == "per_worker":
            sizes = arrays.batch_sizes(self.inner)
            turns = dealt_indices(indices, self.process, sizes)
            dataset = arrays.gathered(turns, self.inner)
        else:
            part = functools.partial(_own_part, process=self.process)
            indices = indices.skip(skipped) if skipped else indices
            dataset = arrays.gathered(indices, self.inner, part)
        return arrays.untuned(dataset).prefetch(tf.data.AUTOTUNE)

    @property
    def num_batches(self) -> int | None:
        whole = self.inner.num_batches
        if whole is None or self.batch == "global":
            return whole
        return -(-whole // self.process.size)

    def __str__(self) -> str:
        samples = keras_internals.num_samples(self.inner)
        what = f"{self.kind} of {samples} samples" if samples else self.kind
        if self.batch == "per_worker":
            return f"{what}: rank r takes batch r of every {self.process.size}"
        return f"{what}: rank r takes part r of {self.process.size} of each batch"


def _refuse_unseeded(dataset: Dataset) -> None:
    """A shuffle without a seed differs between ranks: their parts would overlap."""
    seeds = keras_internals.shuffle_seeds(dataset)
    if seeds and not any(int(tf.get_static_value(s) or 0) for s in seeds):
        raise ValueError(
            "ranks must shuffle in the same order. Received: a tf.data.Dataset that "
            "was shuffled before the job began, without a seed. Call init() of the "
            "framework or keras.utils.set_random_seed first, or start with its run "
            "command."
        )
    for source in keras_internals.inputs_of(dataset):
        _refuse_unseeded(source)


def patch() -> None:
    """Wraps the adapter that Keras chooses for the data of a bound model."""
    inner = keras_internals.data_adapters.get_data_adapter

    def get_data_adapter(*args: Any, **kwargs: Any) -> Any:
        adapter = inner(*args, **kwargs)
        make = binding.context().adapt.now
        return adapter if make is None else make(adapter)

    keras_internals.data_adapters.get_data_adapter = get_data_adapter
