"""Signals that ask a job for a snapshot and the end.

SIGTERM comes from batch systems, SIGUSR1 from Slurm's ``--signal`` and from the
launcher, SIGINT from a terminal. The first one is noted, for the next step; the second
SIGINT ends the process as it would have without this.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

# A job that was asked to end, and has kept a snapshot: start it again (EX_TEMPFAIL).
STOPPED_CODE = 75
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequests:
    """Notes signals while steps are taken that end with the next one.

    Args:
        end: Ends this process, where no step will come.
    """

    def __init__(self, end: Callable[[], None]):
        self._end = end
        self.received = 0  # the signal that came first; 0: none
        self.is_stepping = False  # whether somebody asks after each step
        self._before: dict[int, object] = {}
        self._pid = os.getpid()

    def listen(self) -> None:
        """Takes the signals over; in the main thread only, as Python demands."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a child that the script has forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again = self.received != 0
        self.received = self.received or number
        if self.is_stepping and not (again and number == signal.SIGINT):
            return
        if number == signal.SIGINT:
            before = self._before[number]
            if callable(before):
                before(number, frame)
            return
        self._end()
