"""Who takes part in the training of one shard, and how far each has come."""

from __future__ import annotations

from nfdt.protocol.controllers import Ledger


class Attendance:
    """The workers that a controller may wait for, and what it knows of them.

    Args:
        num_workers: M; all take part until they are excused.
    """

    def __init__(self, num_workers: int):
        self.clocks = dict.fromkeys(range(num_workers), 0)  # active worker -> pushes
        self.waiting: dict[int, float] = {}  # worker without parameters -> since when
        self.steps: dict[int, int] = {}  # worker -> own ones since its last update
        self.speeds: dict[int, float] = {}  # worker -> steps/s, as its monitor says

    def excuse(self, worker: int) -> None:
        """Lets nobody wait for a worker until it is back."""
        self.clocks.pop(worker, None)

    def rejoin(self, worker: int, clock: int = 0) -> None:
        """Counts an excused worker again: abreast of the slowest, if any."""
        if worker not in self.clocks:
            self.clocks[worker] = min(self.clocks.values(), default=clock)

    def leave(self, worker: int) -> None:
        """Forgets a worker that has gone for ever."""
        self.excuse(worker)
        self.steps.pop(worker, None)
        self.speeds.pop(worker, None)

    def count_push(self, worker: int, clock: int) -> int:
        """Counts a push; returns the worker's lead over the slowest, in pushes."""
        if worker in self.clocks:
            self.clocks[worker] += 1
        else:  # with this push it is abreast of the slowest
            self.rejoin(worker, clock)
        return self.clocks[worker] - min(self.clocks.values())

    def count_step(self, worker: int) -> int:
        """Counts a step of a worker's own; returns its lead over the slowest."""
        self.rejoin(worker)
        own = self.steps[worker] = self.steps.get(worker, 0) + 1
        return own - min(self.steps.get(other, 0) for other in self.clocks)

    def ledger(
        self, held: tuple[int, ...], late: frozenset[int], asking: tuple[int, ...]
    ) -> Ledger:
        """Returns what the controller sees now."""
        waiting = tuple(self.waiting)
        return Ledger(self.clocks, held, waiting, late, asking, self.steps, self.speeds)
