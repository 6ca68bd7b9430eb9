"""Data adapters whose batches are leased from server 0, or dealt in turn."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore.glue import arrays, generators, keras_internals, marks
from fdtcore.glue.data import WrappedAdapter
from fdtcore.glue.keras_internals import ArrayDataAdapter, DataAdapter, PyDatasetAdapter
from fdtcore.keras_types import Structure, Tensor
from nfdt.glue.epochs import Epochs, Passes

# What a batch is marked with where it has no number.
UNNUMBERED = -1


class LeasedAdapter(WrappedAdapter):
    """Yields ``(epoch, number), batch``: this worker's share of what another yields.

    One pass over its data set is this worker's part of one epoch. Batches that have
    an index are leased one by one, so that fast workers take more; of a stream each
    worker takes every M-th.

    Args:
        inner: The adapter of the user's data.
        epochs: Leases batches, and counts epochs.
        steps_per_epoch: Batches of an epoch where the user says so.
        begins: What is done at the beginning of an epoch.
        merges: Merges what this worker's own steps have come to.
        over: What is done at the end of an epoch.
    """

    def __init__(
        self,
        inner: DataAdapter,
        epochs: Epochs,
        steps_per_epoch: int | None,
        *,
        begins: Callable[[], None],
        merges: Callable[[], None],
        over: Callable[[], None],
    ):
        super().__init__(inner)
        self.epochs = epochs
        self.begins, self.merges, self.over = begins, merges, over
        self._limit = steps_per_epoch
        self._passes = Passes(inner.num_batches, steps_per_epoch)
        self._order: list[Any] = []  # of the pass, where batches have an index
        self._first = 0  # index in the pass of the epoch's first batch
        self._length = 0  # batches of the epoch
        self._goes_on = False  # whether the epoch has been begun already
        self._num_epochs = 0  # of this fit so far, with those that were skipped
        self._stream: Any = None
        self._numbers: deque[int] = deque()
        self.batch_spec: Any = None  # of the user's batches, once they are read

    def numbered(self) -> deque[int]:
        """Returns what receives the numbers of the batches of the next pass."""
        self._numbers = deque()
        return self._numbers

    @property
    def is_leased(self) -> bool:
        """Whether batches have an index."""
        inner = self.inner
        if isinstance(inner, PyDatasetAdapter):
            return inner.num_batches is not None and inner.enqueuer is None
        return isinstance(inner, ArrayDataAdapter)

    def get_tf_dataset(self) -> tf.data.Dataset:
        if isinstance(self.inner, ArrayDataAdapter):
            dataset = self._from_arrays(self.inner)
        elif self.is_leased:
            dataset = self._from_index(self.inner)
        else:
            dataset = self._from_stream()
        options = tf.data.Options()
        # It waits for batches to become free: not in a thread that trains.
        options.threading.private_threadpool_size = 2
        return arrays.untuned(dataset).prefetch(1).with_options(options)

    def _from_arrays(self, adapter: DataAdapter) -> tf.data.Dataset:
        passes = arrays.index_passes(adapter)
        ends = np.cumsum(arrays.batch_sizes(adapter))

        def new_order() -> list[Any]:
            # All at once: each reading is an operation.
            return np.split(next(passes.as_numpy_iterator()), ends[:-1])

        def batches() -> Iterator[Any]:
            yield from self._leases(new_order)

        signature = (_MARK_SPEC, tf.TensorSpec([None], tf.int64))
        dataset = generators.from_generator(batches, signature)
        return arrays.gathered(dataset, adapter)

    def _from_index(self, adapter: DataAdapter) -> tf.data.Dataset:
        element = adapter.get_tf_dataset().element_spec  # also makes the signature

        def new_order() -> list[int]:
            order = list(range(adapter.num_batches))
            if adapter.shuffle:
                keras_internals.shuffle(adapter, order, self._num_epochs)
            return order

        def batches() -> Iterator[Any]:
            for mark, index in self._leases(new_order):
                batch = adapter.py_dataset[index]
                yield mark, keras_internals.standard_batch(adapter, batch)

        dataset = generators.from_generator(batches, (_MARK_SPEC, element))
        return dataset.map(marks.marked)

    def _leases(self, new_order: Callable[[], list[Any]]) -> Iterator[tuple[Any, Any]]:
        """Yields marks and the batches that this worker gets, out of their order."""
        if self.epochs.is_peeking:
            yield from ((_NO_MARK, one) for one in new_order())
            return
        goes_on, self._goes_on = self._goes_on, False
        if not goes_on:
            self._begin_epoch(new_order)
        epoch, numbers = self.epochs.current, self._numbers
        for number in self.epochs.leases(epoch, self._length):
            numbers.append(number)
            mark = np.array([epoch, number], np.int64)
            yield mark, self._order[self._first + number]

    def _begin_epoch(self, new_order: Callable[[], list[Any]]) -> None:
        self.epochs.begin()
        for _ in range(self.epochs.turns()):
            span = self._passes.begin()
            if span.is_new_pass:
                self._order = new_order()
            self._num_epochs += 1
        assert span.length is not None  # what has an index has a length
        self._first, self._length = span.first, span.length

    def goes_on(self) -> bool:
        """Whether the epoch goes on behind its last batch that was free.

        Its end is known when all is merged that the workers have stepped on. So this
        one merges its own, and asks again: others may be lost with theirs.
        """
        if not self.epochs.take_merge():
            return False
        self.merges()
        self._goes_on = True
        return True

    def _from_stream(self) -> tf.data.Dataset:
        """Deals what has no index: batch i goes to worker i modulo M."""
        inner = self.inner.get_tf_dataset()
        worker, count = self.epochs.worker, self.epochs.num_workers

        def own() -> Iterator[Any]:
            if self.epochs.is_peeking:
                yield from ((_NO_MARK, leaves(batch)) for batch in inner)
                return
            epoch, numbers = self.epochs.begin(), self._numbers
            for number, batch in enumerate(self._next_batches(inner)):
                if number % count == worker:
                    self.epochs.taken += 1
                    numbers.append(number)
                    yield np.array([epoch, UNNUMBERED], np.int64), leaves(batch)

        def leaves(batch: Structure) -> tuple[Any, ...]:
            return tuple(tf.nest.flatten(batch))

        def packed(mark: Tensor, batch: Structure) -> Any:
            whole = tf.nest.pack_sequence_as(inner.element_spec, list(batch))
            return marks.marked(mark, whole)

        specs = tuple(tf.nest.flatten(inner.element_spec))
        return generators.from_generator(own, (_MARK_SPEC, specs)).map(packed)

    def _next_batches(self, inner: tf.data.Dataset) -> Iterator[Any]:
        span = self._passes.begin()
        if span.is_new_pass:
            self._stream = iter(inner)
        found = 0
        for batch in itertools.islice(self._stream, span.length):
            found += 1
            yield batch
        if span.length is None or found < span.length:
            self._passes.end()
        elif self._passes.peek().is_new_pass:
            # Keras makes an iterator here, too, which a shuffle takes notice of.
            iter(inner)

    @property
    def num_batches(self) -> int | None:
        # How many this worker gets is known when they have run out.
        return None

    @property
    def whole_num_batches(self) -> int | None:
        """Batches of an epoch over all workers, None where it is not known."""
        return self._limit or self.inner.num_batches

    def __str__(self) -> str:
        if self.is_leased:
            return f"{self.kind}: batches are leased; fast workers take more"
        return f"{self.kind}: batch i goes to worker i modulo {self.epochs.num_workers}"


_MARK_SPEC = tf.TensorSpec([2], tf.int64)
_NO_MARK = np.array([UNNUMBERED, UNNUMBERED], np.int64)


def unmarked(data: Structure) -> tuple[Any, Any]:
    """Takes a batch apart: its mark, int64 [2], and the user's own batch.

    One that was not leased has no number.
    """
    mark, batch = marks.unmarked(data)
    return tf.constant(_NO_MARK) if mark is None else mark, batch
