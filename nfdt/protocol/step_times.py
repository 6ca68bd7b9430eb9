"""The times of a worker's steps: computing, waiting, exchanging, wrapper."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class TimeShares(NamedTuple):
    """Where the time of a worker's steps went, in seconds, for all of them together."""

    steps: int = 0
    computing_s: float = 0.0  # with the input, callbacks, and the ends of epochs
    waiting_s: float = 0.0  # from sending to the first byte of the answer
    exchanging_s: float = 0.0  # sending, and what follows that byte
    wrapper_s: float = 0.0

    def pack(self) -> bytes:
        """Returns it as a worker sends it when it ends."""
        return json.dumps(self).encode()

    @classmethod
    def unpack(cls, data: bytes) -> TimeShares:
        """Reads what a worker has sent; nothing is known where it sent nothing."""
        return cls(*json.loads(data)) if data else cls()

    @classmethod
    def mean(cls, several: Iterable[TimeShares]) -> TimeShares:
        """Returns the times of one step in the mean over all steps of all workers."""
        sums = [sum(values) for values in zip(*several)]
        steps = sums[0] if sums else 0
        return cls(1, *(s / steps for s in sums[1:])) if steps else cls()

    def line(self) -> str:
        """Says it in one line, in milliseconds."""
        named = zip(("computing", "waiting", "exchanging", "wrapper"), self[1:])
        return ", ".join(f"{name} {1000 * took_s:.2f} ms" for name, took_s in named)


class StopWatch:
    """Takes the times of the pushes of one worker, from the first one's end on.

    Args:
        now: A clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]):
        self._now = now
        self._steps = -1  # the first is the start, in which the step is traced
        self._begun_s = self._ended_s = 0.0
        self._inside_s = self._waiting_s = self._exchanging_s = 0.0

    @contextlib.contextmanager
    def of_push(self) -> Iterator[None]:
        """Surrounds what Python does between two computations of TensorFlow's."""
        begun_s = self._now()
        try:
            yield
        finally:
            self._ended_s = self._now()
            self._steps += 1
            if self._steps:
                self._inside_s += self._ended_s - begun_s
            else:
                self._begun_s = self._ended_s
                self._waiting_s = self._exchanging_s = 0.0

    def exchanged(self, waiting_s: float, exchanging_s: float) -> None:
        """Counts one message and its answer."""
        self._waiting_s += waiting_s
        self._exchanging_s += exchanging_s

    def times(self) -> TimeShares:
        """Returns what was found."""
        if self._steps < 1:
            return TimeShares()
        whole_s = self._ended_s - self._begun_s
        spent_s = self._waiting_s + self._exchanging_s
        return TimeShares(
            self._steps,
            whole_s - self._inside_s,
            self._waiting_s,
            self._exchanging_s,
            self._inside_s - spent_s,
        )
