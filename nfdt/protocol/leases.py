"""Leases of batches: each goes to one worker, and none is lost with it.

Within an epoch every batch is handed out once, to whoever asks first: so fast workers
take more. It is *done* when its gradient has arrived; a step that a worker makes on
parameters of its own is done when what such steps have come to is merged. What a lost
worker had in hand, or had not merged, goes to the next that asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.messages import Kind, Message

OVER = -1  # the epoch is over
MERGE = -2  # no batch is free: the worker is to merge its own steps, and to ask again


class Grant(NamedTuple):
    """The answer to one worker that asked."""

    worker: int
    number: int  # of the batch; OVER, MERGE: there is none


class Leases:
    """The batches of one epoch.

    Args:
        num_batches: Batches of the epoch.
        done: Those that an earlier, interrupted run has finished.
    """

    def __init__(self, num_batches: int, done: frozenset[int] = frozenset()):
        self.num_batches = num_batches
        self._below = 0  # every batch below is done; never decreases
        self._done = set(done)  # those at or above it
        self._next = 0  # every batch below was handed out or is done
        self._returned: list[int] = []  # of lost workers
        self._leased: dict[int, list[int]] = {}  # worker -> its batches, by age
        self._own: dict[int, list[int]] = {}  # worker -> those of steps not merged yet
        self._merged: dict[int, list[int]] = {}  # worker -> what its last push finished
        self._asking: list[int] = []  # workers without an answer, by arrival
        self._stopped = False

        self._compact()

    @property
    def done(self) -> frozenset[int]:
        """The batches that are done; grows only, disjoint from what is in hand."""
        return frozenset(range(self._below)) | self._done

    @property
    def num_done(self) -> int:
        """Number of those batches."""
        return self._below + len(self._done)

    @property
    def is_over(self) -> bool:
        """Whether every batch is done, or the epoch was stopped."""
        return self._stopped or self._below >= self.num_batches

    @property
    def holders(self) -> frozenset[int]:
        """The workers that have batches in hand, or steps to merge."""
        found = (*self._leased.items(), *self._own.items())
        return frozenset(worker for worker, batches in found if batches)

    def is_idle(self, worker: int) -> bool:
        """Whether a worker waits for others: it asks, with no batch in hand."""
        return worker in self._asking and not self._leased.get(worker)

    def ask(self, worker: int) -> list[Grant]:
        """Notes that a worker wants a batch; returns who gets one now."""
        self._asking.append(worker)
        return self._grant()

    def step(self, worker: int, number: int) -> list[Grant]:
        """Notes a step of a worker's own; returns who gets an answer now."""
        held = self._leased.get(worker, [])
        if number in held:
            held.remove(number)
            self._own.setdefault(worker, []).append(number)
        return self._grant()

    def finish(self, worker: int, number: int = -1) -> list[Grant]:
        """Notes that a batch is done, and that a worker's own steps are merged.

        Args:
            worker: Whose they are.
            number: Of the batch; -1 for none but those of its own steps.

        Returns:
            Who gets an answer now.
        """
        held, found = self._leased.get(worker, []), self._own.pop(worker, [])
        if number in held:
            held.remove(number)
            found.append(number)
        if found:
            self._merged[worker] = found
            self._done.update(found)
            self._compact()
        return self._grant()

    def take_merged(self, worker: int) -> list[int]:
        """Returns, once, the batches that a worker's last push has finished."""
        return self._merged.pop(worker, [])

    def lose(self, worker: int) -> list[Grant]:
        """Takes a worker's batches back; returns who gets an answer now."""
        self._returned += self._own.pop(worker, []) + self._leased.pop(worker, [])
        self._asking = [w for w in self._asking if w != worker]
        return self._grant()

    def stop(self) -> list[Grant]:
        """Ends the epoch early; returns who gets an answer now."""
        self._stopped = True
        return self._grant()

    def _grant(self) -> list[Grant]:
        grants = []
        for worker in list(self._asking):
            number = OVER if self.is_over else self._take(worker)
            if (
                number is None
                and self._own.get(worker)
                and not self._leased.get(worker)
            ):
                number = MERGE  # else the others would wait for it, and it for them
            if number is not None:
                self._asking.remove(worker)
                grants.append(Grant(worker, number))
        return grants

    def _take(self, worker: int) -> int | None:
        while self._next < self._below or self._next in self._done:
            self._next += 1
        left = len(self._returned) + max(0, self.num_batches - self._next)
        # Towards the end nobody lays in a store: a slow worker's keeps all waiting.
        if not left or (self._leased.get(worker) and left <= len(self._workers())):
            return None
        if self._returned:
            number = self._returned.pop(0)
        else:
            number, self._next = self._next, self._next + 1
        self._leased.setdefault(worker, []).append(number)
        return number

    def _compact(self) -> None:
        while self._below in self._done:
            self._done.remove(self._below)
            self._below += 1

    def _workers(self) -> set[int]:
        return {*self._leased, *self._asking}


class EpochLeases:
    """The leases of every epoch, as messages ask for and finish them."""

    def __init__(self) -> None:
        self.leases: dict[int, Leases] = {}  # packed EpochId -> its batches
        self.stopped: set[int] = set()  # fits that ended early
        self._running: list[Leases] = []  # epochs that were not over when one began
        self._own: dict[int, int] = {}  # worker -> epoch of its steps to be merged
        # Worker -> epoch and batches that its last push has finished.
        self.merged: dict[int, tuple[int, list[int]]] = {}

    def resume(self, leases: Mapping[int, Leases], stopped: Iterable[int]) -> None:
        """Goes on with those of an interrupted run."""
        self.leases.update(leases)
        self._running = [one for one in self.leases.values() if not one.is_over]
        for fit in stopped:
            self.stop(fit)

    def is_idle(self, worker: int) -> bool:
        """Whether a worker waits for others: it asks, with no batch in hand."""
        return any(leases.is_idle(worker) for leases in self._running)

    def wait_of(self, worker: int) -> frozenset[int] | None:
        """Returns who has the batches that an idle worker waits for; None: none."""
        for leases in self._running:
            if leases.is_idle(worker):
                return leases.holders
        return None

    def is_stopped(self, epoch: int) -> bool:
        """Whether the fit of an epoch has ended early."""
        return epoch >= 0 and EpochId.unpack(epoch).fit in self.stopped

    def ask(self, message: Message) -> list[Message]:
        """Takes a LEASE; returns who gets a batch now."""
        leases = self._epoch(message.epoch, message.parts)
        return self._granted(message.epoch, leases.ask(message.worker))

    def step(self, message: Message) -> list[Message]:
        """Notes a step of a worker's own; returns who gets a batch now."""
        if message.number < 0 or message.epoch not in self.leases:
            return []
        self._own[message.worker] = message.epoch
        grants = self.leases[message.epoch].step(message.worker, message.number)
        return self._granted(message.epoch, grants)

    def finish(self, message: Message) -> list[Message]:
        """Notes that a message's batch is done, and what its worker has stepped on.

        Returns:
            Who gets a batch now.
        """
        worker, answers = message.worker, []
        if message.epoch >= 0 and message.number < 0:
            self.merged.pop(worker, None)  # it trains on a stream now
        numbers = {message.epoch: message.number} if message.number >= 0 else {}
        if worker in self._own:
            numbers.setdefault(self._own.pop(worker), -1)
        for epoch in numbers.keys() & self.leases.keys():
            grants = self.leases[epoch].finish(worker, numbers[epoch])
            answers += self._granted(epoch, grants)
            if found := self.leases[epoch].take_merged(worker):
                self.merged[worker] = (epoch, found)
        return answers

    def lose(self, worker: int) -> list[Message]:
        """Takes a worker's batches back; returns who gets one now."""
        answers = []
        for epoch, leases in self.leases.items():
            answers += self._granted(epoch, leases.lose(worker))
        return answers

    def stop(self, fit: int) -> list[Message]:
        """Ends a fit early; returns what those are told who asked for batches."""
        self.stopped.add(fit)
        answers = []
        for epoch, leases in self.leases.items():
            if EpochId.unpack(epoch).fit == fit:
                answers += self._granted(epoch, leases.stop())
        return answers

    def _epoch(self, epoch: int, num_batches: int) -> Leases:
        if epoch not in self.leases:
            self.leases[epoch] = Leases(num_batches)
            self._running = [one for one in self.leases.values() if not one.is_over]
            if EpochId.unpack(epoch).fit in self.stopped:
                self.leases[epoch].stop()
        return self.leases[epoch]

    def _granted(self, epoch: int, grants: list[Grant]) -> list[Message]:
        """Answers; ``parts`` is 1 where the whole fit is over."""
        over = int(EpochId.unpack(epoch).fit in self.stopped)
        return [
            Message(Kind.LEASE, w, epoch=epoch, number=number, parts=over)
            for w, number in grants
        ]
