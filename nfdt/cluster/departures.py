"""Who has left a job and how; whether the job goes on, and what is said of it."""

from __future__ import annotations

from typing import NamedTuple

from fdtcore.failures import Failure


class Verdict(NamedTuple):
    """What follows from a departure."""

    line: str  # for the user
    ends: bool  # whether the whole job ends, for that reason
    rank: int  # whose output tells more


class Departures:
    """The workers that are not there any more.

    A worker that fails is missed by nobody: the others take over its batches, and the
    job ends well if one of them does. It fails where no worker ends well, and where
    the loss of one was not to be survived.

    Args:
        num_workers: M.
        survives: Whether MPI goes on without a process that died.
        on_worker_loss: ``"continue"`` or ``"abort"``.
    """

    def __init__(self, num_workers: int, survives: bool, on_worker_loss: str):
        self.num_workers = num_workers
        self.finished: list[int] = []  # workers that ended well
        self.lost: list[int] = []  # that vanished
        self.failures: list[Failure] = []  # of those that said why
        self.code = 1  # for a job that fails: of its first failure
        self._goes_on = survives and on_worker_loss == "continue"

    def finish(self, worker: int) -> None:
        """Notes that a worker has come to its end."""
        self.finished.append(worker)

    def lose(self, worker: int) -> Verdict:
        """Notes that a worker has vanished."""
        self.lost.append(worker)
        return self._verdict(f"worker {worker} (rank {worker}) was lost", worker)

    def fail(self, failure: Failure, code: int, *, fatal: bool) -> Verdict:
        """Notes that a worker ends with an error.

        Args:
            failure: What it was.
            code: Exit code that its script asked for.
            fatal: Whether the others cannot go on either.
        """
        if not self.failures and not self.lost:
            self.code = code
        self.failures.append(failure)
        if fatal:
            return Verdict(failure.message, True, failure.rank)
        return self._verdict(failure.headline().rstrip("."), failure.rank)

    def _verdict(self, what: str, worker: int) -> Verdict:
        gone = len(self.finished) + len(self.lost) + len(self.failures)
        left = self.num_workers - gone
        if not self._goes_on:
            return Verdict(f"{what}.", True, worker)
        if not left:
            return self._last(what, worker)
        who = "1 worker goes on and takes" if left == 1 else f"{left} go on and take"
        return Verdict(f"{what}; {who} over its batches.", False, worker)

    def _last(self, what: str, worker: int) -> Verdict:
        if self.finished:
            return Verdict(f"{what}; the others have finished.", False, worker)
        if not self.failures:
            return Verdict("all workers were lost.", True, worker)
        first = self.failures[0]
        line = first.headline().rstrip(".")
        if self.num_workers > 1:
            line += "; no other worker is left"
        return Verdict(f"{line}.", True, first.rank)
