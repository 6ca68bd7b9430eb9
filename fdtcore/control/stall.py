"""Stall detection: rank 0's table of which rank waits for which.

Pure: time arrives as ``now_s``. The table is right under one rule, which callers of
``enter`` keep: a call that is counted is joined by *every* rank, under the same
label, in the same order. So a rank waiting in call k has proof that every other rank
is on its way to call k, and a rank that ended before call k never comes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

COMPUTING = "computing"
WAITING = "waiting"
FINISHED = "finished"
INTERRUPTED = "interrupted"
STATES = (COMPUTING, WAITING, FINISHED, INTERRUPTED)

_ENDED = (FINISHED, INTERRUPTED)
_LOOK_S = 1.0  # two looks at a silence are less apart, unless this process stood still
# A call into C may keep a living process from answering, however short the patience.
_LEAST_SILENCE_S = 5.0


class Status(NamedTuple):
    """What a rank says of itself."""

    calls: int = 0  # calls entered so far; never decreases
    label: str = ""  # the call last entered
    state: str = COMPUTING  # one of STATES


LONGER = "Its stack shows where; if it needs that long, set a longer stall timeout."
_SAME_CALLS = "Make the same calls on every rank: as many steps, epochs and batches."
_WAYS_OUT = {
    FINISHED: _SAME_CALLS,
    INTERRUPTED: "Start the job again.",
    COMPUTING: LONGER,
    WAITING: _SAME_CALLS,
}


class Verdict(NamedTuple):
    """A stall, and the two ranks that show it."""

    absent: int  # a rank that does not come
    text: str  # one sentence: who waits for whom
    way_out: str  # one sentence: what to do about it


class _Row(NamedTuple):
    status: Status
    since_s: float  # when this status was first seen


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a rank may wait for another.

    Args:
        stall_timeout_s: For one that may still come. Compilation and a checkpoint
            written by one rank count, so it is long.
        grace_s: For one that has ended, or waits in another call, and can never come;
            only covers the time in which news from both is still under way.
    """

    stall_timeout_s: float
    grace_s: float = 2.0


class Silence:
    """How long nothing was heard of a peer, while this process itself ran.

    Args:
        limit_s: How long that may last.
        now_s: Time now, in seconds of a clock that never goes back.
    """

    def __init__(self, limit_s: float, now_s: float) -> None:
        self.silent_s = 0.0
        self._limit_s = max(limit_s, _LEAST_SILENCE_S)
        self._looked_s = now_s

    def hear(self) -> None:
        """Notes that the peer has said something."""
        self.silent_s = 0.0

    def is_over(self, now_s: float) -> bool:
        """Whether the limit has passed; to be asked several times a second."""
        # Whoever was stopped itself has heard of nobody meanwhile.
        self.silent_s += min(now_s - self._looked_s, _LOOK_S)
        self._looked_s = now_s
        return self.silent_s >= self._limit_s


class Monitor(Protocol):
    """What a hub asks who waits for whom."""

    def observe(self, rank: int, status: Status, now_s: float) -> None:
        """Takes note of what a rank says; the same again changes nothing."""

    def forgive(self, pause_s: float) -> None:
        """Does not count a pause in which this process itself stood still."""

    def describe(self, rank: int, now_s: float) -> str:
        """Says what a rank does, e.g. ``waiting in call 3 (barrier) for 12 s``."""

    def verdict(
        self, now_s: float, places: Mapping[int, str] | None = None
    ) -> Verdict | None:
        """Decides whether some rank waits in vain.

        Args:
            now_s: Time now, in seconds of a clock that never goes back.
            places: Rank -> the line of the script that it is in, where that is known.

        Returns:
            The stall, or None while there is hope.
        """


class JointCalls:
    """The table of ranks that all join the same calls.

    Args:
        size: Number of ranks of the job.
        patience: How long to wait.
        now_s: Time now, in seconds of a clock that never goes back.
    """

    def __init__(self, size: int, patience: Patience, now_s: float) -> None:
        self._size = size
        self._patience = patience
        self._rows = [_Row(Status(), now_s) for _ in range(size)]

    def observe(self, rank: int, status: Status, now_s: float) -> None:
        """Takes note of what a rank says; the same again changes nothing."""
        if self._rows[rank].status != status:
            self._rows[rank] = _Row(status, now_s)

    def forgive(self, pause_s: float) -> None:
        """Does not count a pause in which this process itself stood still."""
        self._rows = [_Row(row.status, row.since_s + pause_s) for row in self._rows]

    def describe(self, rank: int, now_s: float) -> str:
        """Says what a rank does, e.g. ``waiting in call 3 (barrier) for 12 s``."""
        (calls, label, state), since_s = self._rows[rank]
        if state == WAITING:
            text = f"waiting in {_call(calls, label)}"
        else:
            text = f"{state} after {_call(calls, label)}"
        return text if state in _ENDED else f"{text} for {now_s - since_s:.0f} s"

    def verdict(
        self, now_s: float, places: Mapping[int, str] | None = None
    ) -> Verdict | None:
        """Decides whether some rank waits in vain.

        Args:
            now_s: Time now, in seconds of a clock that never goes back.
            places: Rank -> the line of the script that it is in, where that is known.

        Returns:
            The stall, or None while there is hope.
        """
        waiting = [r for r in range(self._size) if self._status(r).state == WAITING]
        places = places or {}
        if not waiting:
            return self._left_behind(now_s, places)
        # The rank furthest ahead waits in the first call that somebody missed.
        ahead = max(waiting, key=lambda rank: (self._status(rank).calls, -rank))
        absent = self._missed_for_good(ahead, now_s)
        if absent is None:
            absent = self._stalled(ahead, now_s)
        return None if absent is None else self._verdict(ahead, absent, places)

    def _missed_for_good(self, ahead: int, now_s: float) -> int | None:
        calls, label, _ = self._status(ahead)
        for absent in range(self._size):
            status, since_s = self._rows[absent]
            ended = status.state in _ENDED and status.calls < calls
            # The n-th call of all is the same call, or their ways have parted.
            parted = status.state == WAITING and (
                status.calls == calls and status.label != label
            )
            if ended or parted:
                both_s = max(since_s, self._rows[ahead].since_s)
                if now_s - both_s >= self._patience.grace_s:
                    return absent
        return None

    def _stalled(self, ahead: int, now_s: float) -> int | None:
        last_change_s = max(row.since_s for row in self._rows)
        if now_s - last_change_s < self._patience.stall_timeout_s:
            return None
        calls, label, _ = self._status(ahead)
        for absent in sorted(range(self._size), key=lambda r: self._status(r).calls):
            status = self._status(absent)
            elsewhere = status.state == WAITING and status.label != label
            if status.calls < calls or elsewhere:
                return absent
        return None

    def _left_behind(self, now_s: float, places: Mapping[int, str]) -> Verdict | None:
        """Where some have ended, those that go on have the stall timeout to end, too.

        Their script, or what it does at the end of Python, may never end.
        """
        finished = [r for r in range(self._size) if self._status(r).state == FINISHED]
        busy = [r for r in range(self._size) if self._status(r).state == COMPUTING]
        last_change_s = max(row.since_s for row in self._rows)
        if not finished or not busy:
            return None
        if now_s - last_change_s < self._patience.stall_timeout_s:
            return None
        calls, label, _ = self._status(busy[0])
        text = (
            f"rank {busy[0]}/{self._size} does not end: it has been computing since "
            f"{_call(calls, label)}{at(places, busy[0])}, and rank "
            f"{finished[0]}/{self._size} ended {now_s - last_change_s:.0f} s ago."
        )
        return Verdict(busy[0], text, LONGER)

    def _verdict(self, ahead: int, absent: int, places: Mapping[int, str]) -> Verdict:
        calls, label, _ = self._status(ahead)
        theirs, their_label, state = self._status(absent)
        name = f"rank {absent}/{self._size}"
        reason = {
            FINISHED: f"finished its script after {_call(theirs, their_label)}",
            INTERRUPTED: f"was interrupted after {_call(theirs, their_label)}",
            COMPUTING: f"has been computing since {_call(theirs, their_label)}",
            WAITING: f"waits in {_call(theirs, their_label)}",
        }[state]
        text = (
            f"rank {ahead}/{self._size} waits in {_call(calls, label)}"
            f"{at(places, ahead)}, which {name} never joined: {name} {reason}"
            f"{at(places, absent)}."
        )
        return Verdict(absent, text, _WAYS_OUT[state])

    def _status(self, rank: int) -> Status:
        return self._rows[rank].status


def at(places: Mapping[int, str], rank: int) -> str:
    return f", at {places[rank]}" if rank in places else ""


def _call(calls: int, label: str) -> str:
    return f"call {calls} ({label})" if label else f"call {calls}"
