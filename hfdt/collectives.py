"""Collectives of the ranks of a job, or of a process set of it, by Horovod."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fdtcore.glue import calls
from fdtcore.glue.collectives import CommunicatorCollectives, Line
from fdtcore.process import Process
from hfdt.communicator import HorovodCommunicator
from hfdt.operations import ObservedCommunicator, Observer


class HorovodCollectives(CommunicatorCollectives):
    """Collectives of ranks that share each batch.

    Args:
        process: This process: its rank, the number of ranks, its host.
        communicator: Operations among the ranks.
        line: Tells the other ranks what this one does.
    """

    def __init__(self, process: Process, communicator: HorovodCommunicator, line: Line):
        super().__init__(process, communicator, "hfdt", line)
        self.communicator = communicator

    def observe(self, observer: Observer, *, of_work: bool = False) -> None:
        """Tells an observer of each operation from now on.

        Args:
            observer: Who is told.
            of_work: Whether of the work around operations as well.
        """
        if not isinstance(self.communicator, ObservedCommunicator):
            observed = ObservedCommunicator(self.communicator, [])
            self.communicator = self._communicator = observed
        self.communicator.observers.append(observer)
        if of_work:
            self.communicator.of_work.append(observer)

    def narrow(self, sets: Sequence[Sequence[int]]) -> None:
        """Goes on among the ranks of this one's process set only.

        Raises:
            ValueError: A rank is in no set, or in two.
            RuntimeError: Horovod was started for all ranks only.
        """
        me = self.process
        self.communicator = self._communicator = self.communicator.among(sets)
        rank, size = self.communicator.rank, self.communicator.size
        self.process = Process(rank, size, me.local_rank, me.local_size, me.host)
        # Sets call each other's operations neither together nor in one order.
        self._line = None

    def rows(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Joins each tensor's rows over the ranks, by rank."""
        wire = f"hfdt.{name.replace(' ', '_')}.{self.call_number()}"
        with calls.joined(self, name):
            return self.communicator.allgather(tensors, wire)
