"""HFDT's ranks in one process: threads, each with the reduction of a real rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from benchmarks.papers.contenders import CONTENDERS
from benchmarks.papers.objective import Objective
from benchmarks.papers.runs import Run, Shares
from benchmarks.rank_threads import RankThreads
from fdtcore.compression import specification
from fdtcore.compression.specification import Specification
from hfdt.compressed_sum import ring_bytes
from hfdt.compression import Compression
from hfdt.gradients import Reduced, Reduction
from hfdt.options import Options
from nfdt.protocol.events import Event
from nfdt.rules.corrections import Vector
from nfdt.simulation.workers import Sent, Steps, Wanted


class Communicator:
    """What a reduction does among the ranks, in place of Horovod; counts what is sent.

    Args:
        threads: The ranks.
        rank: This one.
    """

    def __init__(self, threads: RankThreads, rank: int):
        self.rank, self.size = rank, threads.size
        self.sent_bytes = 0.0  # in a ring
        self._threads = threads

    def sum(self, tensors: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""
        del name
        own = [tensor.numpy() for tensor in tensors]
        self.sent_bytes += sum(ring_bytes(one.nbytes, self.size) for one in own)
        brought = self._threads.bring(self.rank, own)
        return [tf.constant(np.sum(each, 0)) for each in zip(*brought, strict=True)]

    def allgather(self, tensors: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Joins each tensor's rows over the ranks, in order of rank."""
        del name
        own = [tensor.numpy() for tensor in tensors]
        self.sent_bytes += sum(one.nbytes for one in own) * (self.size - 1)
        brought = self._threads.bring(self.rank, own)
        return [tf.constant(np.concatenate(e)) for e in zip(*brought, strict=True)]

    def maximum(self, tensors: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Takes the largest of new values, of which there are none."""
        assert not tensors, name
        return []


class Ranks:
    """Ranks that train in step, by SGD with the momentum of the run's contender.

    Args:
        run: The run; its workers are the ranks.
        goal: What is trained.
        first: First values, [P].
    """

    def __init__(self, run: Run, goal: Objective, first: Vector):
        import keras

        self.now_s = 0.0
        self._shapes = goal.shapes
        self._ends = np.cumsum([np.prod(shape, dtype=int) for shape in goal.shapes])
        self._variables = [keras.Variable(part) for part in self._parts(first)]
        momentum = CONTENDERS[run.algorithm].momentum
        self._optimizer = keras.optimizers.SGD(momentum=momentum)
        self._optimizer.build(self._variables)
        self._threads = RankThreads(run.workers)
        self._communicators = [
            Communicator(self._threads, rank) for rank in range(run.workers)
        ]
        self._compressions = [_compression(run) for _ in range(run.workers)]
        options = Options(compression=run.compression)
        self._reductions = [
            Reduction(communicator, options, compression)
            for communicator, compression in zip(
                self._communicators, self._compressions, strict=True
            )
        ]
        self._dense_bytes = 0.0

    @property
    def params(self) -> Vector:
        """The parameters, [P], which are alike on all ranks."""
        return np.concatenate([v.numpy().reshape(-1) for v in self._variables])

    @property
    def shares(self) -> Shares:
        """What a rank has sent, and has got of all others, in rings."""
        part = self._communicators[0].sent_bytes / self._dense_bytes
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
            params, sent = self.params, []
            for rank in ranks:
                sent.append((yield Wanted(rank, -1, -1, params, False)))
            self.now_s += 1
            self._step(sent)

    def _step(self, sent: list[Sent]) -> None:
        share = tf.constant(1 / len(sent))

        def reduced(rank: int) -> Reduced:
            gradients = [tf.constant(part) for part in self._parts(sent[rank].vector)]
            return self._reductions[rank](
                self._optimizer, gradients, self._variables, share, "gradients"
            )

        gradients, _, _, _, compressed = self._threads.run(reduced)[0]
        self._dense_bytes += ring_bytes(sent[0].vector.nbytes, len(sent))
        apply, compression = self._optimizer.apply, self._compressions[0]
        if compression is not None:
            apply = compression.stepping(self._optimizer, compressed, apply)
        self._optimizer.learning_rate = sent[0].rate
        apply(gradients, self._variables)

    def _parts(self, vector: Vector) -> list[Vector]:
        parts = np.split(vector, self._ends[:-1])
        return [
            part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)
        ]


def _compression(run: Run) -> Compression | None:
    if run.compression in specification.TYPES:
        return None
    return Compression(Specification.parse(run.compression), lambda line: None)
