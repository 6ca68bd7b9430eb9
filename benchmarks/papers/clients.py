"""Workers in virtual time that are clients of a server, as those of real jobs are."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.papers.runs import Shares
from fdtcore.compression import factory
from fdtcore.compression.specification import Specification
from nfdt.clusters.cluster import Cluster
from nfdt.protocol.client import ShardedVector
from nfdt.protocol.gradients import Dense
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message, as_bytes
from nfdt.protocol.server import Service
from nfdt.protocol.transport import LocalTransport
from nfdt.rules.corrections import Vector
from nfdt.simulation.workers import Steps, Wanted, nodes
from nfdt.telemetry.summary import Traffic


class Clients:
    """Workers that push a part of a gradient, and get a part of the parameters.

    Nobody waits, and messages take no time: their steps end when those of the
    simulator's workers do.

    Args:
        service: The server.
        cluster: What the job runs on.
        seed: Of the times of steps.
        spec: Of the parameters, with what is sent of gradients.
        first: First values, [P].
    """

    def __init__(
        self,
        service: Service,
        cluster: Cluster,
        seed: int,
        spec: GroupSpec,
        first: Vector,
    ):
        self.now_s = 0.0
        self._nodes = nodes(cluster, seed)
        chosen = Specification.parse(spec.compression)
        sizes = [stop - start for start, stop in spec.layout.ranges]
        inbox: list[tuple[int, Message]] = []
        self._transports = [_Counting(service, inbox) for _ in self._nodes]
        self._vectors = [
            ShardedVector(
                *(transport, worker, 0, sizes, spec.dtype, spec.wire),
                compressor=factory.compressor(chosen, spec.layout),
            )
            for worker, transport in enumerate(self._transports)
        ]
        for vector in self._vectors:
            vector.open(spec, first)

    @property
    def shares(self) -> Shares:
        """The bytes of gradients, and of the parameters that have answered them."""
        return Shares(
            _share([one.pushed for one in self._transports]),
            _share([one.answered for one in self._transports]),
        )

    def stream(self) -> Steps:
        """Yields the steps of all, in the order in which they end, for ever."""
        due = [(node.step_s(), worker) for worker, node in enumerate(self._nodes)]
        heapq.heapify(due)
        while True:
            self.now_s, worker = due[0]
            vector = self._vectors[worker]
            sent = yield Wanted(worker, -1, -1, vector.params, False)
            vector.push([Dense(0, sent.vector)], rate=sent.rate, loss=sent.loss)
            ends_s = self.now_s + self._nodes[worker].step_s()
            heapq.heapreplace(due, (ends_s, worker))


class _Counting(LocalTransport):
    """Counts the bytes of pushes and of what answers them."""

    def __init__(self, service: Service, inbox: list[tuple[int, Message]]):
        super().__init__([service], lambda: 0.0, inbox)
        self.pushed, self.answered = Traffic(), Traffic()

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        answers = super().call_all(messages, into)
        if messages[0].kind is Kind.PUSH:
            whole = self.services[0].groups[0].params.nbytes
            sent, found = (
                as_bytes(one.payload).nbytes for one in (messages[0], answers[0])
            )
            self.pushed = self.pushed.more(sent, whole)
            self.answered = self.answered.more(found, whole)
        return answers


def _share(counted: Sequence[Traffic]) -> float:
    return sum(one.sent for one in counted) / sum(one.whole for one in counted)
