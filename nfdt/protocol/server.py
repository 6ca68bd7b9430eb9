"""A server process: its shards, leases and meetings, and who is present.

Opens groups of variables, leases batches, holds meetings, and knows who is there.
Pure, as ``nfdt.protocol.shard_server`` is: ``handle(message, now_s) -> messages``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from nfdt.protocol import group_spec, serialization
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.events import Event, Happening
from nfdt.protocol.group_spec import GroupSpec, difference
from nfdt.protocol.leases import EpochLeases, Leases
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.rendezvous import Meetings
from nfdt.protocol.shard_server import ShardServer
from nfdt.rules.corrections import Vector

# From the spec of a group and the first values of a shard to its server.
Maker = Callable[[GroupSpec, Vector], ShardServer]


class Wait(NamedTuple):
    """What a worker waits for."""

    what: str  # "the parameters after its push 12"
    whom: frozenset[int]  # the workers that it comes from


class Service:
    """One server process.

    Args:
        num_workers: Number of workers, M.
        make: Makes the server of a group's shard when the first worker opens it.
        opened: Called with the service and the group, when it has been made.
        present: The workers that are there at the start; None for all M.
    """

    def __init__(
        self,
        num_workers: int,
        make: Maker,
        opened: Callable[[Service, int], None] = lambda service, group: None,
        present: Iterable[int] | None = None,
    ):
        self.num_workers = num_workers
        # Neither ended nor lost, nor still to come.
        self.present = set(range(num_workers) if present is None else present)
        self.groups: dict[int, ShardServer] = {}
        self.specs: dict[int, GroupSpec] = {}  # group -> as it was opened
        self._make, self._opened = make, opened
        self._meetings, self._ledgers = Meetings(), EpochLeases()
        self._away: set[int] = set()  # until they are back
        # Epoch -> group and batch of its pushes; of the last two epochs.
        self.pushed: dict[int, set[tuple[int, int]]] = {}
        # Those that an interrupted run has pushed, and another server has not.
        self._known: set[tuple[int, int, int]] = set()

    @property
    def leases(self) -> Mapping[int, Leases]:
        """Epoch, as :class:`EpochId` packs it -> its batches."""
        return self._ledgers.leases

    @property
    def merged(self) -> Mapping[int, tuple[int, list[int]]]:
        """Worker -> epoch and batches that its last push has finished."""
        return self._ledgers.merged

    @property
    def stopped(self) -> Collection[int]:
        """The fits that ended early."""
        return self._ledgers.stopped

    def handle(self, message: Message, now_s: float) -> list[Message]:
        """Takes one message; returns those to send."""
        worker = message.worker
        if worker not in self.present:
            return []  # sent before its end was noticed: its batch is another's now
        if message.kind is Kind.AWAY:
            self._away.add(worker)
        elif message.kind in (Kind.BACK, Kind.PUSH, Kind.STEP):
            self._away.discard(worker)
        answers = self._handled(message, now_s)
        return answers + self._excuse({worker, *(a.worker for a in answers)}, now_s)

    def _handled(self, message: Message, now_s: float) -> list[Message]:
        match message.kind:
            case Kind.OPEN:
                return self._open(message, now_s)
            case Kind.PUSH:
                return self._push(message, now_s) + self._ledgers.finish(message)
            case Kind.STEP:
                return self._stepped(message, now_s) + self._ledgers.step(message)
            case Kind.PULL:
                found = self.groups[message.group].handle(message, now_s)
                return self._about(message.group, found)
            case Kind.AWAY | Kind.BACK:
                return []
            case Kind.LOAD:
                return self._load(message, now_s)
            case Kind.STATE:
                return [self._state(message)]
            case Kind.LEASE:
                return self._ledgers.ask(message)
            case Kind.DONE if message.parts:
                return self._ledgers.step(message)
            case Kind.DONE:
                return self._ledgers.finish(message)
            case Kind.STOP:
                answers = self._ledgers.stop(EpochId.unpack(message.epoch).fit)
                return answers + self._close_meetings()
            case Kind.MEET:
                self._meetings.bring(message)
                return self._close_meetings()
            case Kind.BYE | Kind.FAIL:
                return self.lose(message.worker, now_s)
        raise ValueError(f"a server does not answer {message.kind.name}.")

    def _push(self, message: Message, now_s: float) -> list[Message]:
        epoch, pair = message.epoch, (message.group, message.number)
        if (epoch, *pair) in self._known:  # it comes for the sake of the others
            self._known.remove((epoch, *pair))
            answer = self.groups[message.group].skip(message.worker)
            return self._about(message.group, [answer])
        if message.number >= 0:
            if epoch not in self.pushed:
                last = max(self.pushed, default=epoch)
                self.pushed = {last: self.pushed.get(last, set()), epoch: set()}
            self.pushed[epoch].add(pair)
        return self._stepped(message, now_s)

    def _stepped(self, message: Message, now_s: float) -> list[Message]:
        answers = self.groups[message.group].handle(message, now_s)
        return self._about(message.group, answers)

    def join(self, worker: int, now_s: float) -> list[Message]:
        """Goes on with a worker that was not there at the start.

        It is awaited from now on, abreast of the slowest; as any other it opens its
        groups, and takes the newest parameters so.

        Args:
            worker: Its index, below M.
            now_s: Time now, in seconds of a clock that never goes back.

        Raises:
            ValueError: The worker is present, or its index is not below M.
        """
        if worker in self.present or not 0 <= worker < self.num_workers:
            raise ValueError(
                f"a worker that joins must be one of 0 .. {self.num_workers - 1} that "
                f"is not present. Received: {worker} beside {sorted(self.present)}. "
                "Make the service for as many workers as there may ever be."
            )
        self.present.add(worker)
        return self._excuse({worker}, now_s)

    def lose(self, worker: int, now_s: float) -> list[Message]:
        """Goes on without a worker: one that has ended, failed or was killed."""
        self.present.discard(worker)
        answers = []
        for group, server in self.groups.items():
            answers += self._about(group, server.leave(worker, now_s))
        answers += self._ledgers.lose(worker)
        answers += self._close_meetings()
        return answers + self._excuse({a.worker for a in answers}, now_s)

    def _excuse(self, workers: set[int], now_s: float) -> list[Message]:
        """Lets nobody wait for workers that wait for others here, or are away."""
        answers = []
        for worker in sorted(workers & self.present):
            waits = self._waits(worker)
            for group, server in self.groups.items():
                if waits or self._waits_elsewhere(worker, group):
                    answers += self._about(group, server.excuse(worker, now_s))
                else:
                    server.rejoin(worker)
        return answers

    def _waits(self, worker: int) -> bool:
        is_idle = self._ledgers.is_idle(worker)
        return is_idle or worker in self._away or self._meetings.is_in(worker)

    def _waits_elsewhere(self, worker: int, group: int) -> bool:
        """Whether another group's barrier holds a worker that makes its own steps.

        Barriers of several groups come in no common order: waiting for each other,
        two of them would never end.
        """
        return self.groups[group].controller.paces and any(
            server.holds(worker)
            for other, server in self.groups.items()
            if other != group
        )

    def waits(self) -> dict[int, Wait]:
        """Returns the workers that wait for others here, and for whom."""
        found = {}
        for worker in sorted(self.present):
            if meeting := self._meetings.wait_of(worker):
                name, come = meeting
                whom = frozenset(self.present - come)
                found[worker] = Wait(f"the meeting {name}", whom)
            elif (having := self._ledgers.wait_of(worker)) is not None:
                found[worker] = Wait("a batch of its epoch", having - {worker})
            for server in self.groups.values():
                if worker not in found and (held := server.wait_of(worker)):
                    found[worker] = Wait(*held)
        return found

    def resume(
        self,
        leases: Mapping[int, Leases],
        stopped: Iterable[int],
        pushed: Mapping[int, set[tuple[int, int]]],
        partial: Collection[tuple[int, int, int]],
    ) -> None:
        """Goes on with the ledger of an interrupted run.

        Args:
            leases: Epoch -> its batches.
            stopped: Fits that ended early.
            pushed: Epoch -> group and batch of its pushes.
            partial: Epoch, group and batch of pushes that not all servers have: where
                they are pushed again, those that have them leave them out.
        """
        self._ledgers.resume(leases, stopped)
        self.pushed = {epoch: set(pairs) for epoch, pairs in pushed.items()}
        self._known = {
            found for found in partial if found[1:] in self.pushed.get(found[0], set())
        }

    def take_records(self) -> tuple[list[Event], list[Happening]]:
        """Returns what the trace tells, since the last call."""
        events: list[Event] = []
        happenings: list[Happening] = []
        for server in self.groups.values():
            new = server.records.take()
            events += new[0]
            happenings += new[1]
        return events, happenings

    def _open(self, message: Message, now_s: float) -> list[Message]:
        spec, values = group_spec.unpack(message.payload)
        group = message.group
        if group not in self.groups:
            self.specs[group] = dataclasses.replace(spec, opened_by=message.worker)
            self.groups[group] = self._make(spec, values)
            self._opened(self, group)
            for worker in set(range(self.num_workers)) - self.present:
                self.groups[group].excuse(worker, now_s)
            self._excuse(self.present, now_s)
        elif wrong := difference(self.specs[group], spec, rates=False):
            text = (
                "all workers must train the same model. Received: "
                f"{wrong[0]} on worker {self.specs[group].opened_by}, "
                f"{wrong[1]} on worker {message.worker}."
            )
            return [Message(Kind.REFUSED, message.worker, payload=text.encode())]
        pull = dataclasses.replace(message, kind=Kind.PULL, payload=b"")
        return self._about(group, self.groups[group].handle(pull, now_s))

    def _about(self, group: int, answers: list[Message]) -> list[Message]:
        return [dataclasses.replace(answer, group=group) for answer in answers]

    def _load(self, message: Message, now_s: float) -> list[Message]:
        server = self.groups[message.group]
        found = serialization.load(bytes(message.payload))
        server.load(found["params"], found.get("state"))
        if "user_state" in found:
            server.adopt(found["user_state"], found["version"])
        pull = dataclasses.replace(message, kind=Kind.PULL, payload=b"")
        return self._about(message.group, server.handle(pull, now_s))

    def _state(self, message: Message) -> Message:
        server = self.groups[message.group]
        found = {"version": server.version, "state": server.update.state()}
        payload = serialization.dump(found)
        return Message(Kind.BYTES, message.worker, message.group, payload=payload)

    def _close_meetings(self) -> list[Message]:
        return self._meetings.close(self.present, self._ledgers.is_stopped)
