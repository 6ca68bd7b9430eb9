"""HFDT's ranks in one process: threads, each with the sums of a real rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.papers.contenders import CONTENDERS
from benchmarks.papers.objective import Objective
from benchmarks.papers.runs import NONE, Run, Shares
from benchmarks.rank_threads import RankThreads
from fdtcore.compression import specification
from fdtcore.compression.layout import Layout
from fdtcore.compression.specification import Specification
from hfdt.compression import Compression
from hfdt.ring_bytes import ring_bytes, sent_bytes
from nfdt.protocol.events import Event
from nfdt.rules.corrections import Vector
from nfdt.simulation.workers import Sent, Steps, Wanted


class Communicator:
    """What compressed sums do among ranks, in place of Horovod; counts what is sent.

    Args:
        threads: The ranks.
        rank: This one.
    """

    def __init__(self, threads: RankThreads, rank: int):
        self.rank, self.size = rank, threads.size
        self.sent_bytes = 0.0  # in a ring
        self._threads = threads

    def sum(self, tensors: Sequence[Any], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""
        del name
        own = list(map(np.asarray, tensors))
        self.sent_bytes += sum(ring_bytes(one.nbytes, self.size) for one in own)
        brought = self._threads.bring(self.rank, own)
        return [tf.constant(np.sum(each, 0)) for each in zip(*brought, strict=True)]

    def allgather(self, tensors: Sequence[Any], name: str) -> list[tf.Tensor]:
        """Joins each tensor's rows over the ranks, in order of rank."""
        del name
        own = list(map(np.asarray, tensors))
        own_bytes = sum(one.nbytes for one in own)
        self.sent_bytes += sent_bytes("allgather", own_bytes, self.size)
        brought = self._threads.bring(self.rank, own)
        return [tf.constant(np.concatenate(e)) for e in zip(*brought, strict=True)]

    def note_work(self, name: str, start_s: float, end_s: float) -> None:
        """Notes nothing: no trace is kept."""


class Ranks:
    """Ranks that train in step, by SGD with the momentum of the run's contender.

    Large gradients go by the compressed sums of HFDT. The rest and the optimizer, which
    is that of Keras, are in NumPy: of many small tensors TensorFlow makes more work
    than the network is.

    Args:
        run: The run; its workers are the ranks.
        goal: What is trained.
        first: First values, [P].
    """

    def __init__(self, run: Run, goal: Objective, first: Vector):
        self.now_s = 0.0
        self.params = first.copy()  # [P], alike on all ranks
        self._threads = RankThreads(run.workers)
        self._ranks = [
            _Rank(run, goal, Communicator(self._threads, rank))
            for rank in range(run.workers)
        ]
        self._momentum = np.full_like(first, CONTENDERS[run.algorithm].momentum)
        if run.compression.startswith(specification.DEEP_GRADIENT):
            self._momentum[self._ranks[0].is_compressed] = 0  # it is in the sums
        self._velocity = np.zeros_like(first)
        self._dense_bytes = 0.0

    @property
    def shares(self) -> Shares:
        """What a rank has sent, and has got of all others, in rings."""
        part = self._ranks[0].communicator.sent_bytes / self._dense_bytes
        return Shares(part, part)

    @property
    def machines(self) -> Ranks:
        """They are their own."""
        return self

    def events(self) -> Sequence[Event]:
        """Returns what a server has noted: there is none."""
        return ()

    def stream(self) -> Steps:
        """Yields the steps of all ranks, one rank after the other, for ever."""
        ranks = range(self._threads.size)
        while True:
            sent = []
            for rank in ranks:
                sent.append((yield Wanted(rank, -1, -1, self.params, False)))
            self.now_s += 1
            self._step(sent)

    def _step(self, sent: Sequence[Sent]) -> None:
        share = np.float32(1 / len(sent))

        def reduced(rank: int) -> Vector:
            return self._ranks[rank].reduced(share * sent[rank].vector)

        gradient = self._threads.run(reduced)[0]
        self._dense_bytes += ring_bytes(gradient.nbytes, len(sent))
        self._velocity *= self._momentum
        self._velocity -= np.float32(sent[0].rate) * gradient
        self.params = self.params + self._velocity


class _Rank:
    """One rank's reduction of gradients.

    Args:
        run: The run.
        goal: What is trained.
        communicator: Operations among the ranks.
    """

    def __init__(self, run: Run, goal: Objective, communicator: Communicator):
        self.communicator = communicator
        layout = Layout(tuple(goal.shapes))
        self.is_compressed = np.zeros(layout.size, bool)  # of each element
        if run.compression == NONE:
            return
        import keras

        variables = [keras.Variable(np.zeros(s, np.float32)) for s in goal.shapes]
        optimizer = keras.optimizers.SGD(momentum=CONTENDERS[run.algorithm].momentum)
        places, self._sum = Compression(
            Specification.parse(run.compression), lambda line: None
        ).of(optimizer, variables, [v.value + 0 for v in variables])
        self._shapes = [goal.shapes[i] for i in places]
        self._ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        for i in places:
            self.is_compressed[slice(*layout.ranges[i])] = True

    def reduced(self, addend: Vector) -> Vector:
        """Returns what is now applied of the sum over the ranks, [P].

        Args:
            addend: Of this rank, [P].
        """
        total, rest = np.empty_like(addend), ~self.is_compressed
        total[rest] = self.communicator.sum([addend[rest]], "rest")[0]
        if self.is_compressed.any():
            parts = np.split(addend[self.is_compressed], self._ends)
            tensors = [
                tf.constant(part.reshape(shape))
                for part, shape in zip(parts, self._shapes, strict=True)
            ]
            sums = self._sum(tensors, None, self.communicator, "compressed")
            found = [one.numpy().reshape(-1) for one in sums]
            total[self.is_compressed] = np.concatenate(found)
        return total
