"""Horovod's operations as observers see them: eager ones, and those in a graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hfdt.communicator import HorovodCommunicator


class Operation(NamedTuple):
    """One operation that has ended.

    It begins when this rank's tensors are there and ends when it has those of all, so
    that of the waiting for others is in it. Times are those of ``time.time``.
    """

    kind: str
    name: str
    num_tensors: int
    num_bytes: int  # of this rank's tensors
    begun_s: float
    ended_s: float
    is_traced: bool = False  # whether it is one of a graph's

    @property
    def took_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.begun_s


Observer = Callable[[Operation], None]


class ObservedCommunicator(HorovodCommunicator):
    """Operations among the ranks, of each of which somebody is told.

    Args:
        inner: The same operations, which nobody is told of.
        observers: Are told of each operation, in this order.
        of_work: Are told of the work around operations.
    """

    def __init__(
        self,
        inner: HorovodCommunicator,
        observers: Sequence[Observer],
        of_work: Sequence[Observer] = (),
    ):
        super().__init__(inner.rank, inner.size, inner.process_set)
        self.observers, self.of_work = list(observers), list(of_work)

    def among(self, sets: Sequence[Sequence[int]]) -> HorovodCommunicator:
        """Returns the operations among the ranks of the set that holds this rank."""
        return ObservedCommunicator(super().among(sets), self.observers, self.of_work)

    def operation(
        self,
        kind: str,
        tensors: Sequence[tf.Tensor],
        name: str,
        call: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]],
    ) -> list[tf.Tensor]:
        """Runs an operation of Horovod's, or adds it to the graph that is traced.

        Args:
            kind: What observers are told that it is.
            tensors: This rank's.
            name: Of the operation.
            call: Horovod's own, from the tensors to their results.
        """
        tensors = [tf.convert_to_tensor(t) for t in tensors]
        is_eager = tf.executing_eagerly()

        def note(begun_s: float, ended_s: float, *sizes: int) -> np.int64:
            times_s = float(begun_s), max(float(begun_s), float(ended_s))
            num_bytes, is_traced = sum(map(int, sizes)), not is_eager
            ended = Operation(kind, name, len(tensors), num_bytes, *times_s, is_traced)
            for observer in self.observers:
                observer(ended)
            return np.int64(0)  # a function in a graph gives a tensor

        if is_eager:
            begun_s = time.time()
            found = call(tensors)
            note(begun_s, time.time(), *_sizes(tensors))
            return found
        found = call(tensors)
        times = _moment(tensors), _moment(found)
        tf.numpy_function(note, [*times, *_sizes(tensors)], tf.int64)
        return found

    def note_work(self, name: str, begun_s: float, ended_s: float) -> None:
        """Tells of the work of this rank around some operations.

        Args:
            name: Of the work.
            begun_s: When it began, with the first operation or before it.
            ended_s: When it had ended.
        """
        for observer in self.of_work:
            observer(Operation("work", name, 0, 0, begun_s, ended_s))


def _moment(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns when some tensors of a graph were there.

    Nothing waits for it. ``tf.timestamp`` would not do: operations with a state run
    one after the other, so what leaves early would delay what leaves late.
    """
    # What reads nothing would be computed once, while the graph is optimised.
    first = [tf.reshape(t, [-1])[:1] for t in tensors]
    return tf.numpy_function(_now, first, tf.float64, stateful=False)


def _now(*_: np.ndarray) -> np.float64:
    return np.float64(time.time())


def _sizes(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.size(t, tf.int64) * t.dtype.size for t in tensors]
