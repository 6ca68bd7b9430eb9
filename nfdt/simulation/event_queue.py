"""The queue of future events, by time."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable
from typing import Any


class EventQueue:
    """Events to come, and the time of the last that has happened."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, bool, Callable[[], Any]]] = []
        self._order = itertools.count()  # events of one time happen by age

    def plan(self, time_s: float, act: Callable[..., Any], *args: Any) -> None:
        """Notes that something is to be called at a time."""
        self._push(time_s, False, functools.partial(act, *args))

    def plan_for_good(self, time_s: float, act: Callable[..., Any], *args: Any) -> None:
        """As :meth:`plan`, of what is not forgotten."""
        self._push(time_s, True, functools.partial(act, *args))

    def forget(self) -> None:
        """Drops what is planned, but not for good."""
        self._heap = [event for event in self._heap if event[2]]
        heapq.heapify(self._heap)

    def _push(self, time_s: float, lasts: bool, act: Callable[[], Any]) -> None:
        heapq.heappush(self._heap, (time_s, next(self._order), lasts, act))

    def next(self) -> Any:
        """Lets the next event happen; returns what it returns.

        Raises:
            RuntimeError: The queue has no event.
        """
        if not self._heap:
            raise RuntimeError(
                "a simulated job must have a worker that can go on. Received: none at "
                f"t={self.now_s:g} s. Let one of the cluster's workers live, or join."
            )
        time_s, _, _, act = heapq.heappop(self._heap)
        self.now_s = max(self.now_s, time_s)
        return act()
