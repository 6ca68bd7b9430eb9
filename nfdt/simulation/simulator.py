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
from nfdt.simulation.event_queue import Agenda
from nfdt.simulation.worker_process import Moves
from nfdt.simulation.workers import Steps


class Driver:
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
        self._agenda = agenda = Agenda()
        log = MessageLog("nfdt", now_s=lambda: agenda.now_s) if logs_messages else None
        self._moves = Moves(services, cluster, agenda, seed, wire, log)
        for member in self._moves.members:
            if member.joins_s:
                joins_s = member.joins_s
                self._agenda.plan_for_good(joins_s, self._moves.join, member)
        for change in cluster.changes:
            if isinstance(change, Slower):
                self._agenda.plan_for_good(change.at_s, self._slow, change)
            elif isinstance(change, Dies):
                at_s, worker = change.at_s, change.worker
                self._agenda.plan_for_good(at_s, self._moves.die, worker)

    @property
    def now_s(self) -> float:
        """The virtual time."""
        return self._agenda.now_s

    def epoch(self, epoch: int, num_batches: int) -> Steps:
        """Yields the steps of one epoch, in the order in which they end.

        Args:
            epoch: Index of the epoch.
            num_batches: Number of batches of the epoch.
        """
        yield from self._run(epoch, num_batches, self._moves.have_all_met)

    def stream(self) -> Steps:
        """Yields steps on batches without a number, for ever."""
        yield from self._run(-1, -1, lambda: False)

    def _run(self, epoch: int, num_batches: int, is_over: Callable[[], bool]) -> Steps:
        self._agenda.forget()  # what was under way when the last steps were left
        self._moves.begin(epoch, num_batches)
        while not is_over():
            wanted = self._agenda.next()
            if wanted is not None:
                self._moves.found(wanted, (yield wanted))

    def _slow(self, change: Slower) -> None:
        self._moves.nodes[change.worker].factor *= change.factor
