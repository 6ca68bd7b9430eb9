"""Ranks that are threads of this process, and what they bring to each other."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_WAIT_S = 60  # only an error keeps a rank away for longer


class RankThreads:
    """So many ranks, which all bring something in the same order.

    Args:
        size: Number of ranks.
    """

    def __init__(self, size: int):
        self.size = size
        self._barrier = threading.Barrier(size)
        self._brought: list[Any] = [None] * size

    def run(self, work: Callable[[int], T]) -> list[T]:
        """Returns what ``work(rank)`` returns, by rank."""
        with concurrent.futures.ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(work, range(self.size)))

    def bring(self, rank: int, one: T) -> list[T]:
        """Returns what all ranks have brought, by rank."""
        self._brought[rank] = one
        self._barrier.wait(_WAIT_S)
        found = list(self._brought)
        self._barrier.wait(_WAIT_S)
        return found
