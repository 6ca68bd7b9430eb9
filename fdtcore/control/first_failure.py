"""The first failure as one rank learns of it: recorded, told to the user, final."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from fdtcore import failures, output
from fdtcore.control.deadline import Countdown
from fdtcore.failures import Failure
from fdtcore.process import Process

_OWN_GRACE_S = 6.0  # the failing rank prints, waits for its peers, shuts down
_PEER_GRACE_S = 3.0  # the others unwind: their collectives fail by themselves
_STALL_GRACE_S = 1.0  # nothing unwinds from a stall


class FirstFailure:
    """Takes the first failure and no other.

    Args:
        process: This process: its rank, the number of ranks, its host.
        job_dir: Where the failure is recorded, or None.
        countdown: Armed as soon as something is known: printing may block.
        name: What messages call this process; empty for its rank.
        is_heard: Whether this process is on the launcher's machine, or may be.
    """

    def __init__(
        self,
        process: Process,
        job_dir: str | os.PathLike[str] | None,
        countdown: Countdown,
        name: str = "",
        *,
        is_heard: bool = True,
    ) -> None:
        self.failure: Failure | None = None  # the job's first; never replaced
        self.told = threading.Event()  # it is recorded and printed
        self._process, self._name = process, name or str(process)
        self._job_dir = job_dir
        self._is_heard = is_heard
        self._countdown = countdown
        self._learning = threading.Lock()

    def is_own(self, failure: Failure) -> bool:
        """Tells whether this rank raised it, and so prints its own traceback."""
        raised = failure.kind == failures.EXCEPTION
        return raised and failure.rank == self._process.rank

    def learn(self, failure: Failure, *, alone: bool = False) -> None:
        """Takes a failure, from this rank or over the line.

        Args:
            failure: Failure to record.
            alone: Whether this rank has found it without the hub. The first of those
                that do so then tells the user.
        """
        with self._learning:
            if self.failure is not None:
                return
            self.failure = failure
            self._countdown.arm(self._grace_s(failure))
            # Each side of a cut takes the other one for lost. What counts is what those
            # say who still reach the launcher.
            is_cut = alone and failure.kind == failures.CUT_OFF and not self._is_heard
            is_first = not is_cut and self._record(failure)
            if not self.is_own(failure):
                self._print(failure, tells=alone and is_first)
            self.told.set()

    def _grace_s(self, failure: Failure) -> float:
        if failure.kind == failures.STALL:
            return _STALL_GRACE_S
        return _OWN_GRACE_S if self.is_own(failure) else _PEER_GRACE_S

    def _record(self, failure: Failure) -> bool:
        """Writes the record; returns whether no other rank has before."""
        if self._job_dir is None:
            return True
        try:
            return failures.write_record(self._job_dir, failure)
        except OSError as error:
            text = f"{self._name} cannot record the failure: {error}\n"
            output.write(text, sys.stderr)
            return True

    def _print(self, failure: Failure, *, tells: bool) -> None:
        text = f"{self._name} stops: {failure.headline()}\n"
        has_report = failure.kind == failures.STALL
        if has_report and (tells or self._process.rank == 0):
            text += failure.traceback
        output.write(text, sys.stderr)
        if tells and output.has_file():
            output.write(text, output.terminal())
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()  # what the user printed comes out before the end
