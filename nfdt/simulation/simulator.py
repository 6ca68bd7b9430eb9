"""The simulator: workers in virtual time, over the server code of a real run.

A heap of events, and nothing that sleeps. Leases take no time, as in a real run, where
they are asked for ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fdtcore.message_log import MessageLog
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Dies, Slower
from nfdt.protocol.server import Service
from nfdt.simulation.event_queue import EventQueue
from nfdt.simulation.worker_process import WorkerProcesses
from nfdt.simulation.workers import Steps


class Simulator:
    """All workers of a simulated job.

    Args:
        services: The servers, of as many workers as the cluster has members.
        cluster: What the job runs on.
        seed: Seed of all random numbers.
        wire: Type of gradients on the way; empty: that of the parameters.
        logs_messages: Whether each message is logged, in virtual time.
    """

    def __init__(
        self,
        services: Sequence[Service],
        cluster: Cluster,
        seed: int = 0,
        wire: str = "",
        logs_messages: bool = False,
    ):
        self.services = services
        self._events = events = EventQueue()
        log = MessageLog("nfdt", now_s=lambda: events.now_s) if logs_messages else None
        self._processes = WorkerProcesses(services, cluster, events, seed, wire, log)
        for member in self._processes.members:
            if member.joins_s:
                joins_s = member.joins_s
                self._events.plan_for_good(joins_s, self._processes.join, member)
        for change in cluster.changes:
            if isinstance(change, Slower):
                self._events.plan_for_good(change.at_s, self._slow, change)
            elif isinstance(change, Dies):
                at_s, worker = change.at_s, change.worker
                self._events.plan_for_good(at_s, self._processes.die, worker)

    @property
    def now_s(self) -> float:
        """The virtual time."""
        return self._events.now_s

    def epoch(self, epoch: int, num_batches: int) -> Steps:
        """Yields the steps of one epoch, in the order in which they end.

        Args:
            epoch: Index of the epoch.
            num_batches: Number of batches of the epoch.
        """
        yield from self._run(epoch, num_batches, self._processes.have_all_met)

    def stream(self) -> Steps:
        """Yields steps on batches without a number, for ever."""
        yield from self._run(-1, -1, lambda: False)

    def _run(self, epoch: int, num_batches: int, is_over: Callable[[], bool]) -> Steps:
        self._events.forget()  # what was under way when the last steps were left
        self._processes.begin(epoch, num_batches)
        while not is_over():
            wanted = self._events.next()
            if wanted is not None:
                self._processes.found(wanted, (yield wanted))

    def _slow(self, change: Slower) -> None:
        self._processes.nodes[change.worker].factor *= change.factor
