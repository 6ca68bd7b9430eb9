"""Where threads of an input wait for batches, in one process with the servers."""

from __future__ import annotations

import threading
from collections.abc import Callable

# What a thread still does in Python when it has its answer takes no longer.
LEAVE_S = 0.2


class Asking:
    """Lets threads wait for batches until there are some, or nobody wants them.

    At the end of Python TensorFlow waits for every thread of its inputs, and one that
    has to come back to Python then never does: such a process would not end.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.is_closed = False
        self._count = 0  # threads that wait

    def wait(self, is_answered: Callable[[], bool]) -> None:
        """Returns when there is an answer, or when all is over; needs the lock."""
        self._count += 1
        while not self.is_closed and not is_answered():
            self.lock.wait()
        self._count -= 1

    def close(self) -> bool:
        """Ends all waiting.

        Returns:
            Whether there was any: then Python must not end within ``LEAVE_S``.
        """
        with self.lock:
            self.is_closed = True
            self.lock.notify_all()
            return self._count > 0
