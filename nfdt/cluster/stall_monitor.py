"""Stall detection for one job of workers and servers: who waits for whom in vain.

Pure: time arrives as ``now_s``. A worker that waits does so for others, as the first
server knows (:meth:`nfdt.protocol.server.Service.waits`), and is at no fault. The one
that it waits for is, when it has made no progress for the stall timeout meanwhile. A
server is when it takes no message and makes no turn for so long: it never waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fdtcore.control.stall import COMPUTING, FINISHED, LONGER, Status, Verdict, at
from nfdt.protocol.server import Wait
from nfdt.protocol.topology import Roles

END_OF_JOB = "the end of the job"  # what a worker waits for that has ended
_LONGER = LONGER.replace("a longer stall timeout", "a longer --stall-timeout")


def name_of(roles: Roles, rank: int) -> str:
    """Returns what messages call a process, e.g. ``worker 1 (rank 1)``."""
    return f"{roles.name(rank)} (rank {rank})"


class _Known(NamedTuple):
    status: Status
    since_s: float  # when it was first seen


class _Waiting(NamedTuple):
    wait: Wait
    since_s: float


class StallMonitor:
    """The table; a :class:`fdtcore.control.stall.Monitor`.

    Args:
        roles: Who is a worker and who a server.
        stall_timeout_s: How long a process may make no progress.
        now_s: Time now, in seconds of a clock that never goes back.
    """

    def __init__(self, roles: Roles, stall_timeout_s: float, now_s: float) -> None:
        self._roles, self._timeout_s = roles, stall_timeout_s
        self._rows = [_Known(Status(), now_s) for _ in range(roles.size)]
        # Replaced as a whole: another thread reads it.
        self._waiting: Mapping[int, _Waiting] = {}  # worker -> since when, for what

    def observe(self, rank: int, status: Status, now_s: float) -> None:
        """Takes note of what a process says; the same again changes nothing."""
        if self._rows[rank].status != status:
            self._rows[rank] = _Known(status, now_s)

    def update(self, waits: Mapping[int, Wait], now_s: float) -> None:
        """Takes note of who waits for whom, as the first server knows it."""
        before, found = self._waiting, {}
        for worker, wait in waits.items():
            last = before.get(worker)
            is_same = last is not None and last.wait.what == wait.what
            found[worker] = _Waiting(wait, last.since_s if last and is_same else now_s)
        self._waiting = found

    def forgive(self, pause_s: float) -> None:
        """Does not count a pause in which this process itself stood still."""
        self._rows = [_Known(row.status, row.since_s + pause_s) for row in self._rows]
        self._waiting = {
            worker: _Waiting(one.wait, one.since_s + pause_s)
            for worker, one in self._waiting.items()
        }

    def describe(self, rank: int, now_s: float) -> str:
        """Says what a process does, e.g. ``waiting for its step 3 for 12 s``."""
        (_, label, state), since_s = self._rows[rank]
        if state == FINISHED:
            return "finished"
        if waiting := self._waiting.get(rank):
            wait, since_s = waiting
            return f"waiting for {wait.what} for {now_s - since_s:.0f} s"
        if self._roles.is_server(rank):
            return f"serving, {label or 'not begun'} {now_s - since_s:.0f} s ago"
        after = f"after {label}" if label else "since its start"
        doing = "computing" if state == COMPUTING else "waiting for a server"
        return f"{doing} {after} for {now_s - since_s:.0f} s"

    def verdict(
        self, now_s: float, places: Mapping[int, str] | None = None
    ) -> Verdict | None:
        """Decides whether some worker waits in vain, or a server hangs."""
        for rank in sorted(self._roles.server_ranks):
            status, since_s = self._rows[rank]
            if status.calls and now_s - since_s >= self._timeout_s:
                text = f"{name_of(self._roles, rank)} has not served for"
                return Verdict(rank, f"{text} {now_s - since_s:.0f} s.", _LONGER)
        waiting, places = self._waiting, places or {}
        for worker, (wait, waits_since_s) in sorted(waiting.items()):
            for absent in sorted(wait.whom - waiting.keys()):
                status, since_s = self._rows[absent]
                last_s = max(since_s, waits_since_s)
                # Before its first message a worker imports, or builds its model.
                is_late = status.calls and now_s - last_s >= self._timeout_s
                if is_late and status.state == COMPUTING:
                    return self._verdict(worker, absent, places)
        return None

    def _verdict(self, worker: int, absent: int, places: Mapping[int, str]) -> Verdict:
        label = self._rows[absent].status.label
        name = name_of(self._roles, absent)
        what = self._waiting[worker].wait.what
        if what == END_OF_JOB:
            text = (
                f"{name} does not end: its script goes on, or an atexit hook of it"
                f"{at(places, absent)}, {self._timeout_s:.0f} s after "
                f"{self._roles.name(worker)} ended."
            )
            return Verdict(absent, text, _LONGER)
        text = (
            f"{name_of(self._roles, worker)} waits for {what}{at(places, worker)}, "
            f"which needs {name}: {name} has been computing since {label}"
            f"{at(places, absent)}."
        )
        return Verdict(absent, text, _LONGER)
