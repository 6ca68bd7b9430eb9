"""Files written by a thread, one after the other, while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Writer:
    """Runs one piece of writing at a time, in a thread that Python waits for.

    Args:
        say: Is told once that something could not be written.
    """

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._thread: threading.Thread | None = None
        self._has_failed = False
        self.problem = ""  # why the last piece could not be written; empty: it was

    @property
    def is_busy(self) -> bool:
        """Whether something is being written."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, write: Callable[[], object], what: str) -> None:
        """Begins to write, behind what is being written.

        Args:
            write: Writes; may raise an OSError.
            what: Name of what is written, for the message.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(write, what))
        self._thread.start()

    def wait(self) -> None:
        """Returns when nothing is being written."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, write: Callable[[], object], what: str) -> None:
        self.problem = ""
        try:
            write()
        except OSError as error:
            self.problem = f"{what} could not be written ({error.strerror or error})"
            if not self._has_failed:
                self._has_failed = True
                self._say(f"{self.problem}; training goes on without.")
