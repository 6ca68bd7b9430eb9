"""The control line's protocol on rank 0: messages in, messages out, no sockets.

::

    rank r -> hub   status, failure, stack, received, goodbye
    hub -> rank r   failure, send_stack, acknowledged, finished, stopping

The first failure wins and goes to every rank, its reporter first. A stall is only
believed after every rank was asked for its stack: the answers bring fresh statuses.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from fdtcore import failures
from fdtcore.control import stall
from fdtcore.control.stall import Monitor, Status
from fdtcore.failures import Failure

Message = dict[str, Any]
Letter = tuple[int, Message]  # receiver, message

_STACKS_TIMEOUT_S = 2.0
_PAUSE_S = 5.0  # ticks come several times a second: this long means a stopped process
_REPORT_LIMIT = 60_000  # characters
_LABEL_LIMIT = 500
# The user's own frames stand one a line, those of libraries on a line of their own.
_FRAME = re.compile(r'^  File "([^"\n]+)", line (\d+)', re.MULTILINE)
_NO_STACK = "  no answer: it may be stopped or inside C code\n"


@dataclasses.dataclass(frozen=True)
class Member:
    """A rank that has joined."""

    host: str
    pid: int


class Hub:
    """What rank 0 knows of the job.

    Args:
        size: Number of ranks.
        patience: How long a rank may wait for another.
        now_s: The time.
    """

    def __init__(self, size: int, patience: stall.Patience, now_s: float) -> None:
        self.failure: Failure | None = None
        self.finished = False  # every rank came to its orderly end
        self._size = size
        self._monitor = Monitor(size, patience, now_s)
        self._members: dict[int, Member] = {}  # connected now
        self._ended: dict[int, str] = {}  # rank -> how; they said goodbye
        self._unacknowledged: set[int] = set()
        self._stacks: dict[int, str] | None = None  # not None while they come in
        self._stacks_due_s = 0.0
        self._last_tick_s = now_s

    def join(self, rank: int, member: Member) -> list[Letter]:
        """Admits a rank.

        Raises:
            ValueError: There is no such rank, or it has joined before.
        """
        if not 0 <= rank < self._size or rank in self._members or rank in self._ended:
            raise ValueError(f"Every rank joins once. Received: rank={rank}.")
        self._members[rank] = member
        if self.failure is None:
            return []
        self._unacknowledged.add(rank)
        return [(rank, _failure_message(self.failure))]

    def receive(self, rank: int, message: Message, now_s: float) -> list[Letter]:
        """Answers one message of a rank.

        Raises:
            ValueError: The message is malformed.
        """
        match message.get("type"):
            case "status":
                status = _read_status(message)
                if rank not in self._ended:  # it may have overtaken the goodbye
                    self._monitor.observe(rank, status, now_s)
                return []
            case "failure":
                return self._announce(Failure.from_json(message.get("failure")), rank)
            case "stack":
                if self._stacks is not None:
                    self._stacks[rank] = _read_text(message, "text", _REPORT_LIMIT)
                return []
            case "received":
                return self._acknowledge(rank)
            case "goodbye":
                status = _read_status(message)
                self._monitor.observe(rank, status, now_s)
                self._ended[rank] = status.state
                return self._finish(rank)
        raise ValueError(f"Unknown message. Received: {message!r:.80}.")

    def lose(self, rank: int) -> list[Letter]:
        """Draws the conclusion from a connection that ended."""
        member = self._members.pop(rank)
        if self._ended.get(rank) == stall.INTERRUPTED or self.finished:
            return []
        if self.failure is not None:
            return self._acknowledge(rank)
        return self._announce(gone(rank, self._size, member), None)

    def tick(self, now_s: float) -> list[Letter]:
        """Looks for a stall; to be called several times a second."""
        pause_s = now_s - self._last_tick_s
        self._last_tick_s = now_s
        if pause_s > _PAUSE_S:
            self._monitor.forgive(pause_s)
        if self.failure is not None or self.finished:
            return []
        if self._stacks is None:
            if self._monitor.verdict(now_s) is None:
                return []
            self._stacks = {}
            self._stacks_due_s = now_s + _STACKS_TIMEOUT_S
            return [(rank, {"type": "send_stack"}) for rank in self._members]
        if set(self._members) - set(self._stacks) and now_s < self._stacks_due_s:
            return []
        stacks, self._stacks = self._stacks, None
        # A rank that has ended only waits inside the control line.
        inside = {rank: stacks[rank] for rank in set(stacks) - set(self._ended)}
        verdict = self._monitor.verdict(now_s, _places(inside))
        if verdict is None:  # it joined while we asked
            return []
        return self._announce(self._stall(verdict, stacks, now_s), None)

    def _announce(self, failure: Failure, reporter: int | None) -> list[Letter]:
        if self.failure is not None:
            return []  # the reporter has been told, or is being told, of the first
        self.failure = failure
        self._unacknowledged = set(self._members)
        # The reporter first: it prints its traceback before its peers' end ends it.
        order = sorted(self._members, key=lambda rank: rank != reporter)
        return [(rank, _failure_message(failure)) for rank in order]

    def _acknowledge(self, rank: int) -> list[Letter]:
        self._unacknowledged.discard(rank)
        if self._unacknowledged:
            return []
        return [(rank, {"type": "acknowledged"}) for rank in self._members]

    def _finish(self, rank: int) -> list[Letter]:
        if rank == 0 and self._ended[rank] == stall.INTERRUPTED:
            # Rank 0 hears it last: then it goes, and the hub with it.
            order = sorted(self._members, reverse=True)
            return [(rank, {"type": "stopping"}) for rank in order]
        if len(self._ended) < self._size or self.failure is not None:
            return []
        self.finished = True
        return [(rank, {"type": "finished"}) for rank in self._members]

    def _stall(
        self, verdict: stall.Verdict, stacks: dict[int, str], now_s: float
    ) -> Failure:
        report = []
        for rank in range(self._size):
            host = self._host(rank)
            doing = self._monitor.describe(rank, now_s)
            # A rank that has ended only waits inside the control line.
            stack = "" if rank in self._ended else stacks.get(rank, _NO_STACK)
            share = max(_REPORT_LIMIT // self._size - 200, 200)
            report.append(
                f"\nrank {rank}/{self._size} ({host}): {doing}\n{stack[-share:]}"
            )
        return Failure(
            rank=verdict.absent,
            size=self._size,
            host=self._host(verdict.absent),
            type="Stall",
            message=verdict.text,
            traceback="".join(report)[:_REPORT_LIMIT],
            kind=failures.STALL,
        )

    def _host(self, rank: int) -> str:
        return self._members[rank].host if rank in self._members else "not connected"


def _places(stacks: Mapping[int, str]) -> dict[int, str]:
    """Returns where ranks are in their script: rank -> ``train.py:33``."""
    found = {rank: _FRAME.findall(stack) for rank, stack in stacks.items()}
    return {
        rank: f"{os.path.basename(frames[-1][0])}:{frames[-1][1]}"
        for rank, frames in found.items()
        if frames
    }


def gone(rank: int, size: int, member: Member) -> Failure:
    """Describes a process whose connection ended without a goodbye."""
    return Failure(
        rank=rank,
        size=size,
        host=member.host,
        type="ProcessGone",
        message=(
            f"rank {rank}/{size} ({member.host}, pid {member.pid}) is gone without a "
            "word: killed by a signal? (often out of memory: see dmesg)"
        ),
        kind=failures.GONE,
    )


def status_message(status: Status, kind: str = "status") -> Message:
    """Writes a status, or with ``kind="goodbye"`` the last one."""
    calls, label, state = status
    label = label[:_LABEL_LIMIT]
    return {"type": kind, "calls": calls, "label": label, "state": state}


def _failure_message(failure: Failure) -> Message:
    return {"type": "failure", "failure": failure.to_json()}


def _read_status(message: Message) -> Status:
    calls, state = message.get("calls"), message.get("state")
    if not isinstance(calls, int) or state not in stall.STATES:
        raise ValueError(f"Malformed status. Received: {message!r:.80}.")
    return Status(calls, _read_text(message, "label", _LABEL_LIMIT), state)


def _read_text(message: Message, name: str, limit: int) -> str:
    text = message.get(name)
    if not isinstance(text, str):
        raise ValueError(f"{name} must be text. Received: {text!r:.80}.")
    return text[:limit]
