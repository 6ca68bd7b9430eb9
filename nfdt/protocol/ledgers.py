"""The batches of all epochs: who has which, and which fits have ended early."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nfdt.protocol.leases import Grant, Leases
from nfdt.protocol.messages import Kind, Message


class Ledgers:
    """One ledger of batches for each epoch, as messages want and change them."""

    def __init__(self) -> None:
        self.leases: dict[int, Leases] = {}  # epoch -> its batches
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

    def is_stopped(self, epoch: int) -> bool:
        """Whether the fit of an epoch has ended early."""
        return epoch >= 0 and fit_of(epoch) in self.stopped

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
            if fit_of(epoch) == fit:
                answers += self._granted(epoch, leases.stop())
        return answers

    def _epoch(self, epoch: int, num_batches: int) -> Leases:
        if epoch not in self.leases:
            self.leases[epoch] = Leases(num_batches)
            self._running = [one for one in self.leases.values() if not one.is_over]
            if fit_of(epoch) in self.stopped:
                self.leases[epoch].stop()
        return self.leases[epoch]

    def _granted(self, epoch: int, grants: list[Grant]) -> list[Message]:
        """Answers; ``parts`` is 1 where the whole fit is over."""
        over = int(fit_of(epoch) in self.stopped)
        return [
            Message(Kind.LEASE, w, epoch=epoch, number=number, parts=over)
            for w, number in grants
        ]


def fit_of(epoch: int) -> int:
    """Returns which fit an epoch belongs to; its number in it is in the lower bits."""
    return epoch >> 32
