"""A countdown that ends a process whose main thread no longer can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Countdown:
    """A thread that sleeps until armed, then ends the process after a grace.

    It exists from the start because an interpreter that shuts down starts no thread,
    and does nothing else because printing may block.

    Args:
        on_zero: Ends the process.
    """

    def __init__(self, on_zero: Callable[[], None]) -> None:
        self._on_zero = on_zero
        self._armed = threading.Event()
        self._grace_s = 0.0
        self._thread = threading.Thread(
            target=self._run, name="control countdown", daemon=True
        )

    def start(self) -> None:
        """Starts the thread; without it, arming has no effect."""
        self._thread.start()

    def arm(self, grace_s: float) -> None:
        """Begins the countdown; a second call changes nothing.

        Args:
            grace_s: Time left to the process.
        """
        if not self._armed.is_set():
            self._grace_s = grace_s
            self._armed.set()

    def join(self) -> None:
        """Waits for the end of an armed countdown."""
        self._thread.join()

    def _run(self) -> None:
        self._armed.wait()
        time.sleep(self._grace_s)
        self._on_zero()
