"""Membership: the workers that have left, and whether the job continues."""

from __future__ import annotations

from typing import NamedTuple

from fdtcore.control.hub import Stall
from fdtcore.failures import PROCESS_GONE, Failure


class DepartureNotice(NamedTuple):
    """What follows from a departure."""

    line: str = ""  # for the user, where the job continues
    failure: Failure | None = None  # what the whole job ends for, which says why


class Membership:
    """The workers of a job that are left, and those that are not.

    A worker that vanishes is missed by nobody where that may be survived: the others
    take over its batches, and the job ends well if one of them does. One that says
    why it ends, by an exception or an exit code of its script, ends the job: what is
    wrong with the script is not wrong with one machine.

    Args:
        num_workers: Number of workers, M.
        size: Number of processes of the job.
        survives: Whether MPI goes on without a process that died.
        on_worker_loss: ``"continue"`` or ``"abort"``.
    """

    def __init__(
        self, num_workers: int, size: int, survives: bool, on_worker_loss: str
    ):
        self.num_workers, self._size = num_workers, size
        self.finished: list[int] = []  # workers that ended well
        self.has_ended = False  # whether one of them did so behind all its fits
        self.lost: list[int] = []  # that vanished
        self.code = 1  # for a job that fails
        self._goes_on = survives and on_worker_loss == "continue"

    def finish(self, worker: int, *, early: bool = False) -> DepartureNotice | None:
        """Notes that a worker has come to its end.

        Args:
            worker: Index of the worker, 0 to M - 1.
            early: Whether its script has left a ``fit`` that the others go on with.
        """
        self.finished.append(worker)
        self.has_ended = self.has_ended or not early
        left = self._left()
        if not early or not left:
            return None
        what = f"worker {worker} (rank {worker}) ended its script in the middle of fit"
        return DepartureNotice(f"{what}; {_who(left)} over its batches.")

    def stall(self, stall: Stall) -> DepartureNotice:
        """Draws the conclusion from a process that makes no progress.

        A stalled worker is treated as a lost one: it is ended, and then lost. One
        whose script goes on when others have come to their end is at fault by its
        script, which ends the job.

        Args:
            stall: What the hub has found.
        """
        rank, line = stall.failure.rank, stall.failure.message
        is_worker = rank < self.num_workers
        others = self._left() - 1 or len(self.finished)
        lingers = self.has_ended and stall.answers
        if is_worker and self._goes_on and others and stall.can_end and not lingers:
            return DepartureNotice(f"{line} It is ended.")
        return DepartureNotice(failure=stall.failure)

    def lose(self, worker: int) -> DepartureNotice:
        """Notes that a worker has vanished."""
        self.lost.append(worker)
        what = f"worker {worker} (rank {worker}) was lost"
        if not self._goes_on:
            return self._end(f"{what}.", worker)
        if left := self._left():
            return DepartureNotice(f"{what}; {_who(left)} over its batches.")
        if self.finished:
            return DepartureNotice(f"{what}; the others have finished.")
        return self._end("all workers were lost.", worker)

    def fail(self, failure: Failure, code: int) -> DepartureNotice:
        """Notes that a worker ends with an error, which ends the job.

        Args:
            failure: Failure to report.
            code: Exit code that its script asked for.
        """
        # What a process ends with has eight bits; none of a failure are all 0.
        self.code = code & 0xFF or 1
        return DepartureNotice(failure=failure)

    def _end(self, line: str, rank: int) -> DepartureNotice:
        failure = Failure.ended(rank, self._size, line, PROCESS_GONE)
        return DepartureNotice(failure=failure)

    def _left(self) -> int:
        return self.num_workers - len(self.finished) - len(self.lost)


def _who(left: int) -> str:
    return "1 worker goes on and takes" if left == 1 else f"{left} go on and take"
