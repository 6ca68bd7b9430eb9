"""The process of a simulated worker: batch, gradient, push, end of an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fdtcore.message_log import MessageLog
from nfdt.clusters.cluster import Cluster
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.corrections import Vector
from nfdt.simulation import workers
from nfdt.simulation.event_queue import EventQueue
from nfdt.simulation.network import MessageCarrier, Network, transfer_s
from nfdt.simulation.workers import (
    NO_BATCH,
    Result,
    Sent,
    SimulatedWorker,
    Wanted,
    members,
    nodes,
)


class WorkerProcesses:
    """The members of a cluster, and what each does next.

    Args:
        services: State machine of each server process, by server index.
        cluster: Cluster to simulate: its machines, links and changes.
        events: Where what comes next is planned; what is planned returns a
            ``Wanted`` or None.
        seed: Seed of all random numbers.
        wire: Type of gradients on the way; empty: that of the parameters.
        log: Where a line for each message goes; None for nowhere.
    """

    def __init__(
        self,
        services: Sequence[Service],
        cluster: Cluster,
        events: EventQueue,
        seed: int,
        wire: str,
        log: MessageLog | None = None,
    ):
        self.services, self._events = services, events
        self.members = members(cluster)
        self.of_worker = {t: m for m in self.members for t in m.terminals}
        self.nodes = nodes(cluster, seed)
        self._jitter = np.random.default_rng((seed, 2))
        links = [member.link for member in self.members]
        network = Network(cluster.servers, links, np.random.default_rng((seed, 3)))
        self._carrier = MessageCarrier(
            services, events, network, links, wire, self._receive, log
        )
        self._first: Vector | None = None  # what all begin with, once it is known
        self._epoch = self._num_batches = -1

    def begin(self, epoch: int, num_batches: int) -> None:
        """Begins an epoch, with nothing in hand.

        Args:
            epoch: Its index; -1: batches have no number.
            num_batches: Number of batches of the epoch.
        """
        self._epoch, self._num_batches = epoch, num_batches
        for member in self.members:
            member.begin()
            if member.is_there:
                self._enter(member)

    def have_all_met(self) -> bool:
        """Whether all that are left have come to the end of the epoch."""
        is_over = all(m.has_met or not m.is_there for m in self.members)
        return is_over and any(m.is_there for m in self.members)

    def join(self, member: SimulatedWorker) -> None:
        """Lets a member that was not there take part."""
        member.is_there = True
        for server, service in enumerate(self.services):
            now_s = self._events.now_s
            self._carrier.carry(server, service.join(member.index, now_s))
        self._enter(member)

    def die(self, worker: int) -> None:
        """Lets a worker end for ever."""
        member = self.of_worker[worker]
        if worker not in member.terminals:
            return  # it is dead already
        member.terminals.remove(worker)
        number = member.busy.pop(worker, NO_BATCH)
        if member.terminals:  # an edge node goes on without it
            if number >= 0:
                member.returned.append(number)
            self._close_round(member)
            return
        member.is_there = False
        for server, service in enumerate(self.services):
            answers = service.lose(member.index, self._events.now_s)
            self._carrier.carry(server, answers)

    def _enter(self, member: SimulatedWorker) -> None:
        """Lets a member begin with the newest parameters."""
        if self._carrier.group < 0:  # all begin with the same values
            self._go_on(member)
        else:
            member.awaited = len(self.services)
            self._carrier.pull(member.index)

    def _go_on(self, member: SimulatedWorker) -> None:
        """Lets each terminal that has nothing to do take a batch."""
        for terminal in member.free:
            if self._epoch < 0:
                self._begin(member, terminal, NO_BATCH)
            elif member.returned:
                self._begin(member, terminal, member.returned.pop())
            else:
                member.asking.append(terminal)
                ask = workers.lease(member, self._epoch, self._num_batches)
                self._carrier.tell(ask)

    def _begin(self, member: SimulatedWorker, terminal: int, number: int) -> None:
        member.busy[terminal] = number
        ends_s = self._events.now_s + self.nodes[terminal].step_s()
        if self._carrier.group >= 0:  # its parameters come down first
            ends_s += self._inside_s(member, terminal, self._carrier.returned_bytes)
        self._events.plan(ends_s, self._computed, member, terminal, member.params)

    def _inside_s(
        self, member: SimulatedWorker, terminal: int, num_bytes: int
    ) -> float:
        """Returns the time of a vector between a terminal and its edge node."""
        if not member.is_edge:
            return 0.0
        return transfer_s(self.nodes[terminal].link, num_bytes, self._jitter)

    def _computed(
        self, member: SimulatedWorker, terminal: int, params: Vector | None
    ) -> Wanted | None:
        if not member.is_there or terminal not in member.busy:
            return None  # it has died meanwhile
        found = self._first if params is None else params
        return Wanted(terminal, self._epoch, member.busy[terminal], found, False)

    def found(self, wanted: Wanted, sent: Sent) -> None:
        """Goes on with what was found."""
        member = self.of_worker[wanted.worker]
        if self._carrier.group < 0:
            self._open()
        if sent.vector is None:
            del member.busy[wanted.worker]
            self._step_alone(member, wanted.number, sent.loss)
            return
        result = Result(wanted.number, sent.vector, sent.loss, sent.rate)
        if wanted.submits:
            self._push(member, result)
        else:
            takes_s = self._inside_s(member, wanted.worker, self._carrier.push_bytes)
            arrives_s = self._events.now_s + takes_s
            self._events.plan(arrives_s, self._merge, member, wanted.worker, result)

    def _open(self) -> None:
        """Gives all the first values, at which they have begun to compute."""
        self._carrier.open()
        for member in filter(lambda member: member.is_there, self.members):
            for server, service in enumerate(self.services):
                pull = Message(Kind.PULL, member.index, self._carrier.group)
                (answer,) = service.handle(pull, self._events.now_s)
                member.shards[server] = answer.payload
        self._first = np.concatenate(
            [s.groups[self._carrier.group].params for s in self.services]
        )

    def _merge(self, member: SimulatedWorker, terminal: int, result: Result) -> None:
        """Takes a result into the round; pushes where it was the last one awaited."""
        if member.is_there and member.busy.pop(terminal, None) is not None:
            member.results.append(result)
            self._close_round(member)

    def _close_round(self, member: SimulatedWorker) -> None:
        if member.busy or member.awaited or not member.results:
            return
        for one in member.results[1:]:  # what the push itself does not tell
            self._carrier.tell(workers.done(member, self._epoch, one.number))
        self._push(member, member.take_round())

    def _push(self, member: SimulatedWorker, result: Result) -> None:
        member.unsent = 0
        member.awaited = len(self.services)
        compute_s = self._count(member)
        message = workers.push(
            member, self._carrier.group, self._epoch, result, compute_s
        )
        self._carrier.push(message, result.vector)

    def _step_alone(self, member: SimulatedWorker, number: int, loss: float) -> None:
        """Goes on after a step that a worker has made on parameters of its own."""
        member.unsent += 1
        if not self._carrier.paces:
            self._carrier.tell(workers.done(member, self._epoch, number))
            self._go_on(member)
            return
        compute_s = self._count(member)
        readings = b""
        if self._carrier.monitors:
            readings = member.speed.step(compute_s, self._events.now_s)
        message = workers.step(
            *(member, self._carrier.group, self._epoch, number, loss),
            compute_s=compute_s,
            readings=readings,
        )
        self._carrier.step(message)

    def _count(self, member: SimulatedWorker) -> float:
        """Counts what a member says after a step; returns how long it has computed."""
        member.clock += 1
        member.pushed_s = self._events.now_s
        return self._events.now_s - member.released_s

    def _paced(self, member: SimulatedWorker, *, submits: bool) -> None:
        self._note_release(member)
        if submits:
            self._events.plan(self._events.now_s, self._submits, member)
        else:
            self._go_on(member)

    def _submits(self, member: SimulatedWorker) -> Wanted | None:
        if not member.is_there:
            return None
        (terminal,) = member.terminals
        return Wanted(terminal, self._epoch, NO_BATCH, member.params, True)

    def _receive(self, server: int, answer: Message) -> None:
        """Takes an answer that has come."""
        member = self.members[answer.worker]
        if not member.is_there:
            return
        match answer.kind:
            case Kind.LEASE:
                terminal = member.asking.popleft()
                if answer.number >= 0:
                    self._begin(member, terminal, answer.number)
                elif member.is_idle:
                    self._events.plan(self._events.now_s, self._end_epoch, member)
            case Kind.BYTES:
                member.has_met = True
            case Kind.PACE:
                self._paced(member, submits=bool(answer.number))
            case Kind.PARAMS | Kind.REFUSED:
                if answer.kind is Kind.PARAMS:
                    # The server writes what it sends next to the same memory, while
                    # a terminal that was late still computes.
                    late = bool(member.busy)
                    dtype = self.services[server].groups[answer.group].params.dtype
                    member.shards[server] = answer.payload.astype(dtype, copy=late)
                member.awaited -= 1
                if not member.awaited:
                    self._release(member)

    def _release(self, member: SimulatedWorker) -> None:
        self._note_release(member)
        self._go_on(member)
        self._close_round(member)

    def _note_release(self, member: SimulatedWorker) -> None:
        member.released_s = self._events.now_s
        member.exchange_s = self._events.now_s - member.pushed_s

    def _end_epoch(self, member: SimulatedWorker) -> Wanted | None:
        """Sends what it has not sent yet; then meets the others."""
        if not member.is_there:
            return None
        if member.unsent:
            return self._submits(member)
        self._carrier.tell(workers.meet(member, self._epoch))
        return None
