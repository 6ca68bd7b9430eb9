"""Horovod's operations as a log shows them: eager ones, and those in a graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from fdtcore.message_log import MessageLog
from hfdt.communicator import HorovodCommunicator


class LoggedCommunicator(HorovodCommunicator):
    """Operations among the ranks, each with a line that names it.

    The time is that from when this rank's tensors are there until it has those of all,
    so that of the waiting for others is in it.

    Args:
        inner: The same operations, without a log.
        log: Where the lines go.
        job_rank: This process among all of the job, which lines name.
    """

    def __init__(self, inner: HorovodCommunicator, log: MessageLog, job_rank: int):
        super().__init__(inner.rank, inner.size, inner.process_set)
        self._log, self._job_rank = log, job_rank

    def among(self, sets: Sequence[Sequence[int]]) -> HorovodCommunicator:
        """Returns the operations among the ranks of the set that holds this rank."""
        return LoggedCommunicator(super().among(sets), self._log, self._job_rank)

    def operation(
        self,
        kind: str,
        tensors: Sequence[tf.Tensor],
        name: str,
        call: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]],
    ) -> list[tf.Tensor]:
        """Runs an operation of Horovod's, or adds it to the graph that is traced.

        Args:
            kind: What it is called in the line.
            tensors: This rank's.
            name: Of the operation.
            call: Horovod's own, from the tensors to their results.
        """
        tensors = [tf.convert_to_tensor(t) for t in tensors]
        if tf.executing_eagerly():
            begun_s = time.time()
            found = call(tensors)
            self._note(kind, name, len(tensors), begun_s, *_sizes(tensors))
            return found
        # What writes the log reads the tensors' shapes, so it comes after them.
        with tf.control_dependencies(tensors):
            begun = tf.timestamp()
        with tf.control_dependencies([begun]):
            found = call([tf.identity(t) for t in tensors])
        with tf.control_dependencies(found):
            noted = tf.numpy_function(
                lambda *given: self._note(kind, name, len(tensors), *given),
                [begun, *_sizes(tensors)],
                tf.int64,
            )
        with tf.control_dependencies([noted]):
            return [tf.identity(t) for t in found]

    def _note(
        self, kind: str, name: str, count: int, begun_s: float, *sizes: int
    ) -> np.int64:
        self._log.note(
            f"r{self._job_rank}",
            kind,
            name.removeprefix("hfdt."),
            f"{count} tensors" if count > 1 else "",
            num_bytes=sum(map(int, sizes)),
            took_s=max(0.0, time.time() - float(begun_s)),
        )
        return np.int64(0)  # a function in a graph gives a tensor


def _sizes(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.size(t, tf.int64) * t.dtype.size for t in tensors]
