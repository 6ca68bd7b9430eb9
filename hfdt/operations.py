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

    The time is that from when this rank's tensors are there until it has those of all,
    so that of the waiting for others is in it.
    """

    kind: str
    name: str
    num_tensors: int
    num_bytes: int  # of this rank's tensors
    took_s: float


class ObservedCommunicator(HorovodCommunicator):
    """Operations among the ranks, of each of which somebody is told.

    Args:
        inner: The same operations, which nobody is told of.
        observers: Are told of each operation, in this order.
    """

    def __init__(
        self,
        inner: HorovodCommunicator,
        observers: Sequence[Callable[[Operation], None]],
    ):
        super().__init__(inner.rank, inner.size, inner.process_set)
        self.observers = list(observers)

    def among(self, sets: Sequence[Sequence[int]]) -> HorovodCommunicator:
        """Returns the operations among the ranks of the set that holds this rank."""
        return ObservedCommunicator(super().among(sets), self.observers)

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

        def note(begun_s: float, *sizes: int) -> np.int64:
            took_s = max(0.0, time.time() - float(begun_s))
            num_bytes = sum(map(int, sizes))
            ended = Operation(kind, name, len(tensors), num_bytes, took_s)
            for observer in self.observers:
                observer(ended)
            return np.int64(0)  # a function in a graph gives a tensor

        if tf.executing_eagerly():
            begun_s = time.time()
            found = call(tensors)
            note(begun_s, *_sizes(tensors))
            return found
        # What tells of it reads the tensors' shapes, so it comes after them.
        with tf.control_dependencies(tensors):
            begun = tf.timestamp()
        with tf.control_dependencies([begun]):
            found = call([tf.identity(t) for t in tensors])
        with tf.control_dependencies(found):
            noted = tf.numpy_function(note, [begun, *_sizes(tensors)], tf.int64)
        with tf.control_dependencies([noted]):
            return [tf.identity(t) for t in found]


def _sizes(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.size(t, tf.int64) * t.dtype.size for t in tensors]
