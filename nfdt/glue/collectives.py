"""Collectives of the workers that are left, by meetings on server 0."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore import output
from fdtcore.glue import calls
from fdtcore.glue.collectives import CommunicatorCollectives
from fdtcore.keras_types import Variable
from fdtcore.process import Process
from fdtcore.shadow_files import patches
from nfdt.glue.communicator import WorkerCommunicator
from nfdt.glue.epochs import Epochs
from nfdt.protocol.transport import Transport


class WorkerCollectives(CommunicatorCollectives):
    """Collectives of workers, each of which trains on batches of its own.

    When the workers before this one are lost, it is rank 0 from then on.

    Args:
        process: This worker among the workers.
        transport: The way to the servers.
        epochs: This worker's count of epochs: a meeting belongs to one that ends.
    """

    def __init__(self, process: Process, transport: Transport, epochs: Epochs):
        self.worker = process.rank  # as the servers know it, for ever
        self._epochs = epochs
        self.communicator = WorkerCommunicator(
            transport, self.worker, lambda: epochs.ending, self._succeed
        )
        # Joint calls are made on server 0, which knows who waits where.
        super().__init__(process, self.communicator, "nfdt")
        # Tells of progress in what the servers see nothing of.
        self.note_progress: Callable[[str], None] = lambda label: None

    def average(self, variables: Sequence[Variable]) -> None:
        """Gives every variable the workers' mean, weighted by their batches."""
        if not variables:
            return
        own = float(self._epochs.taken)
        weighted = [tf.cast(v.value, tf.float64) * own for v in variables]
        *sums, total = self.sum([*weighted, tf.constant(own, tf.float64)], "average")
        if total > 0:
            for variable, value in zip(variables, sums, strict=True):
                variable.assign(tf.cast(value / total, variable.dtype))

    def maximum(self, variables: Sequence[Variable]) -> None:
        """Gives every variable the largest of the workers' values, element by element.

        So Keras combines those that take a new value in place of a gradient.
        """
        if not variables or self.process.size == 1:
            return
        brought = self.gather([v.numpy() for v in variables], "maximum")
        for variable, *values in zip(variables, *brought, strict=True):
            variable.assign(np.maximum.reduce(values))

    def gather(self, value: Any, name: str) -> list[Any]:
        """Returns what every worker has brought: numbers, arrays, lists of them."""
        with calls.joined(self, name):
            return self.communicator.gather(value, f"nfdt.{name}")

    def _succeed(self) -> None:
        self.process = dataclasses.replace(self.process, rank=0)
        output.restore()
        patches.end()
        output.shout(f"worker {self.worker} prints, validates and saves from now on.")
