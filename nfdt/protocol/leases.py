"""Leases of batches: each goes to one worker, and none is lost with it.

Within an epoch every batch is handed out once, to whoever asks first: so fast workers
take more. It is *done* when its gradient has arrived. The batches that a lost worker
had in hand go to the next that asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.messages import Kind, Message


class Grant(NamedTuple):
    """The answer to one worker that asked."""

    worker: int
    number: int  # of the batch; -1: the epoch is over


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
        self._asking: list[int] = []  # workers without an answer, by arrival
        self._stopped = False

        self._compact()

    @property
    def done(self) -> frozenset[int]:
        """The batches that are done; grows only, disjoint from what is in hand."""
        return frozenset(range(self._below)) | self._done

    @property
    def is_over(self) -> bool:
        """Whether every batch is done, or the epoch was stopped."""
        return self._stopped or self._below >= self.num_batches

    @property
    def holders(self) -> frozenset[int]:
        """The workers that have batches in hand."""
        return frozenset(worker for worker, held in self._leased.items() if held)

    def is_idle(self, worker: int) -> bool:
        """Whether a worker waits for others: it asks, with no batch in hand."""
        return worker in self._asking and not self._leased.get(worker)

    def ask(self, worker: int) -> list[Grant]:
        """Notes that a worker wants a batch; returns who gets one now."""
        self._asking.append(worker)
        return self._grant()

    def finish(self, worker: int, number: int) -> list[Grant]:
        """Notes that a batch is done; returns who gets an answer now."""
        held = self._leased.get(worker, [])
        if number in held:
            held.remove(number)
            self._done.add(number)
            self._compact()
        return self._grant()

    def lose(self, worker: int) -> list[Grant]:
        """Takes a worker's batches back; returns who gets an answer now."""
        self._returned += self._leased.pop(worker, [])
        self._asking = [w for w in self._asking if w != worker]
        return self._grant()

    def stop(self) -> list[Grant]:
        """Ends the epoch early; returns who gets an answer now."""
        self._stopped = True
        return self._grant()

    def _grant(self) -> list[Grant]:
        grants = []
        for worker in list(self._asking):
            number = -1 if self.is_over else self._take(worker)
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

    def finish(self, message: Message) -> list[Message]:
        """Notes that a message's batch is done; returns who gets one now."""
        if message.number < 0 or message.epoch not in self.leases:
            return []
        grants = self.leases[message.epoch].finish(message.worker, message.number)
        return self._granted(message.epoch, grants)

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
