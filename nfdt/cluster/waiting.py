"""How a process waits for a message without taking the core from one that computes."""

from __future__ import annotations

import os
import time


class Patience:
    """Looks often at first, then more and more seldom.

    Args:
        looks: Looks that only yield the core before the first sleep.
        first_s: The first sleep.
        longest_s: The longest.
    """

    def __init__(
        self, looks: int = 20, first_s: float = 50e-6, longest_s: float = 1e-3
    ):
        self._looks, self._first_s, self._longest_s = looks, first_s, longest_s
        self._count = 0
        self._sleep_s = first_s

    def reset(self) -> None:
        """Begins anew: something has come."""
        self._count, self._sleep_s = 0, self._first_s

    def wait(self) -> None:
        """Waits between two looks."""
        self._count += 1
        if self._count <= self._looks:
            os.sched_yield()
            return
        time.sleep(self._sleep_s)
        self._sleep_s = min(self._sleep_s * 1.5, self._longest_s)
