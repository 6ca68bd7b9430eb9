"""An iterator that takes each batch before its step begins.

Keras's own step takes its batch itself. Where none is left, TensorFlow has run by then
what does not look at the batch: a count, a mean of something else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from fdtcore.keras_types import TensorFlowIterator


class Execution:
    """The batches of one call of the training function, each taken when it is due.

    A worker may have to push a batch before it is given the next one.

    Args:
        batches: Where they come from, one of them taken already.
        count: How many there may be.
    """

    def __init__(self, batches: Batches, count: int):
        self._batches, self._count = batches, count

    def __iter__(self) -> Iterator[Any]:
        yield self._batches.batch
        for _ in range(self._count - 1):
            if not self._batches.take():
                return
            yield self._batches.batch


class Batches:
    """The batches of one epoch of this worker.

    Args:
        numbers: Receives the number of each, as soon as it has been read.
        iterator: Iterator of ``tf.data`` over this worker's leased batches.
    """

    def __init__(self, numbers: deque[int], iterator: TensorFlowIterator):
        self._numbers, self._iterator = numbers, iterator
        self.batch: Any = None  # taken last, a ``tf.experimental.Optional``
        self.number = 0  # of the batch, in the epoch of the whole job
        self._is_over = False

    def take(self) -> bool:
        """Takes the next batch; returns whether there is one."""
        if not self._is_over:
            self.batch = self._iterator.get_next_as_optional()
            self._is_over = not self.batch.has_value()
        if not self._is_over:
            self.number = self._numbers.popleft()
        return not self._is_over

    def execution(self, count: int) -> Execution:
        """Returns the batch taken last, and those after it, up to ``count``."""
        return Execution(self, count)
