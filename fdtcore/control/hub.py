"""The control line's protocol where the hub is: messages in, messages out, no sockets.

::

    rank r -> hub   alive, status, failure, stack, received, goodbye
    hub -> rank r   alive, failure, cut_off, send_stack, kill, acknowledged, finished,
                    stopping

The first failure wins and goes to every rank, its reporter first. A stall is only
believed after every rank was asked for its stack: the answers bring fresh statuses.
Both sides say every second that they are alive. A rank that no longer does is stopped
or cannot run Python any more; the ranks find that out of the hub, as the hub of them.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from fdtcore import failures
from fdtcore.control import stall
from fdtcore.control.process_identity import ProcessIdentity
from fdtcore.control.stall import JointCalls, Monitor, Silence, Status, Verdict
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
_IS_STOPPED = "It is stopped by a signal (SIGSTOP or Ctrl-Z)."
_IS_SILENT = "It is stopped, or inside C code that lets no other thread run."
# Who waits for a rank that is silent tells more, and is known a moment later.
_SLACK_S = 1.5
BEAT_S = 1.0  # how often each side says that it is alive


@dataclasses.dataclass(frozen=True)
class Stall:
    """A rank that does not go on, as a job sees it that may go on without.

    Args:
        failure: What is said of it.
        answers: Whether its process still does.
        can_end: Whether its process can be ended by `Hub.kill`.
    """

    failure: Failure
    answers: bool
    can_end: bool


class Hub:
    """What the process that keeps the hub knows of the job.

    Args:
        size: Number of ranks of the job.
        patience: How long a rank may wait for another.
        now_s: Time now, in seconds of a clock that never goes back.
        monitor: Who waits for whom; None where all ranks join the same calls.
        rank: The rank that keeps the hub.
        name: From a rank to what messages call it.
        judge: Where a job may go on without a rank: takes a stall of another rank, and
            what comes of it is decided elsewhere; a lost connection ends nothing then.
            None: either ends the job.
    """

    def __init__(
        self,
        size: int,
        patience: stall.Patience,
        now_s: float,
        *,
        monitor: Monitor | None = None,
        rank: int = 0,
        name: Callable[[int], str] | None = None,
        judge: Callable[[Stall], None] | None = None,
    ) -> None:
        self.failure: Failure | None = None
        self.finished = False  # every rank came to its orderly end
        self.dismissed = False  # set by any thread: the next tick is the last
        self._size = size
        self._rank = rank
        self._name = name or (lambda rank: f"rank {rank}/{size}")
        self._judge = judge
        self._silence_s = patience.stall_timeout_s + _SLACK_S
        self._monitor = monitor or JointCalls(size, patience, now_s)
        self._members: dict[int, ProcessIdentity] = {}  # connected now
        self._silences: dict[int, Silence] = {}  # of them
        self._silent: set[int] = set()  # for longer than a rank may be
        self._judged: set[int] = set()  # whose stall has been told
        self._to_kill: collections.deque[int] = collections.deque()  # by any thread
        self._beat_s = now_s
        self._ended: dict[int, str] = {}  # rank -> how; they said goodbye
        self._unacknowledged: set[int] = set()
        self._stacks: dict[int, str] | None = None  # not None while they come in
        self._stacks_due_s = 0.0
        self._last_tick_s = now_s

    def join(self, rank: int, member: ProcessIdentity) -> list[Letter]:
        """Admits a rank.

        Raises:
            ValueError: The rank does not exist, or has joined before.
        """
        if not 0 <= rank < self._size or rank in self._members or rank in self._ended:
            raise ValueError(f"Every rank joins once. Received: rank={rank}.")
        self._members[rank] = member
        self._silences[rank] = Silence(self._silence_s, self._last_tick_s)
        if self.failure is None:
            return []
        self._unacknowledged.add(rank)
        return [(rank, _failure_message(self.failure))]

    def receive(self, rank: int, message: Message, now_s: float) -> list[Letter]:
        """Answers one message of a rank.

        Raises:
            ValueError: The message is malformed.
        """
        if rank in self._silences:
            self._silences[rank].hear()
        match message.get("type"):
            case "alive":
                return []
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

    def lose(
        self, rank: int, now_s: float = 0.0, *, unreachable: bool = False
    ) -> list[Letter]:
        """Draws the conclusion from a connection that ended.

        Args:
            rank: Whose connection.
            now_s: Time now, in seconds of a clock that never goes back.
            unreachable: Whether the rank's machine has not answered; else its process
                has ended, or it has closed the connection.
        """
        member = self._members.pop(rank)
        self._silences.pop(rank)
        self._silent.discard(rank)
        if self.failure is not None or self._is_stopping():
            return self._acknowledge(rank)
        if self._ended.get(rank) == stall.INTERRUPTED or self.finished:
            return []
        failure = gone(rank, self._size, member, self._name(rank))
        if unreachable:
            doing = self._monitor.describe(rank, now_s)
            failure = cut_off(rank, self._size, member, self._name(rank), doing)
        elif self._judge is None and member.host != self._host(self._rank):
            failure = gone(rank, self._size, member, self._name(rank), elsewhere=True)
        if self._judge is None:
            return self._announce(failure, None)
        if unreachable:
            # Of a death MPI tells; of a machine that is silent nobody but this line.
            message = {"type": "cut_off", "failure": failure.to_json()}
            return [(member, message) for member in self._members]
        return []

    def tick(self, now_s: float) -> list[Letter]:
        """Looks for a stall; to be called several times a second."""
        if self.dismissed:
            self.finished = True
            return [(rank, {"type": "finished"}) for rank in self._members]
        pause_s = now_s - self._last_tick_s
        self._last_tick_s = now_s
        if pause_s > _PAUSE_S:
            self._monitor.forgive(pause_s)
        self._silent = {r for r, s in self._silences.items() if s.is_over(now_s)}
        letters = self._beat(now_s) + self._killing()
        if self.failure is not None or self.finished:
            return letters
        if self._stacks is None:
            if self._verdict(now_s) is None:
                return letters
            self._stacks = {}
            self._stacks_due_s = now_s + _STACKS_TIMEOUT_S
            return letters + [(r, {"type": "send_stack"}) for r in self._members]
        awaited = set(self._members) - set(self._stacks) - self._silent
        if awaited and now_s < self._stacks_due_s:
            return letters
        stacks, self._stacks = self._stacks, None
        # A rank that has ended only waits inside the control line.
        inside = {rank: stacks[rank] for rank in set(stacks) - set(self._ended)}
        verdict = self._verdict(now_s, _places(inside))
        if verdict is None:  # it joined while we asked
            return letters
        if verdict.absent in self._members and verdict.absent not in stacks:
            reason = reason_of_silence(self._members[verdict.absent])
            verdict = verdict._replace(way_out=reason)
        failure = self._stall(verdict, stacks, now_s)
        if self._judge is None or verdict.absent == self._rank:
            return letters + self._announce(failure, None)
        self._judged.add(verdict.absent)
        can_end = bool(self._helpers(verdict.absent))
        self._judge(Stall(failure, verdict.absent in stacks, can_end))
        return letters

    def kill(self, rank: int) -> None:
        """Has a rank's process ended by those that run on the same machine.

        Any thread may call it; the next tick tells them.
        """
        self._to_kill.append(rank)

    def _killing(self) -> list[Letter]:
        letters: list[Letter] = []
        while self._to_kill:
            rank = self._to_kill.popleft()
            if rank in self._members:
                message = {"type": "kill", **self._members[rank]._asdict()}
                letters += [(helper, message) for helper in self._helpers(rank)]
        return letters

    def _helpers(self, rank: int) -> set[int]:
        """Returns the ranks that can end another one; itself, while it answers."""
        host = self._members[rank].host
        here = {r for r, member in self._members.items() if member.host == host}
        return here - self._silent

    def _beat(self, now_s: float) -> list[Letter]:
        if now_s - self._beat_s < BEAT_S:
            return []
        self._beat_s = now_s
        return [(rank, {"type": "alive"}) for rank in self._members]

    def _verdict(
        self, now_s: float, places: Mapping[int, str] | None = None
    ) -> Verdict | None:
        """Returns who waits in vain, or does not answer."""
        found = self._monitor.verdict(now_s, places)
        if found is not None and found.absent in self._judged:
            found = None
        silent = {r for r in self._silent if self._ended.get(r) != stall.INTERRUPTED}
        if found is None and (silent := silent - self._judged):
            rank = min(silent)
            doing = self._monitor.describe(rank, now_s)
            about = silence_of(self._name(rank), self._members[rank], self._silence_s)
            found = Verdict(rank, f"{about}, {doing}.", "")
        return found

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

    def _is_stopping(self) -> bool:
        return self._ended.get(self._rank) == stall.INTERRUPTED

    def _finish(self, rank: int) -> list[Letter]:
        if rank == self._rank and self._is_stopping():
            # The hub goes with its rank, which waits until all others have heard of
            # it: a word that is only on its way is lost when a connection is reset.
            self._unacknowledged = set(self._members) - {rank}
            if not self._unacknowledged:
                return [(rank, {"type": "acknowledged"})]
            return [(peer, {"type": "stopping"}) for peer in self._unacknowledged]
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
            report.append(f"\n{self._name(rank)} ({host}): {doing}\n{stack[-share:]}")
        return Failure(
            rank=verdict.absent,
            size=self._size,
            host=self._host(verdict.absent),
            type="Stall",
            message=f"{verdict.text} {verdict.way_out}",
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


def silence_of(name: str, member: ProcessIdentity, silent_s: float) -> str:
    """Says that a process does not answer.

    Args:
        name: What messages call it.
        member: Process that is silent.
        silent_s: Time since its last sign, in seconds.
    """
    where = f"({member.host}, pid {member.pid})"
    return f"{name} {where} has not answered for {silent_s:.0f} s"


def reason_of_silence(member: ProcessIdentity) -> str:
    """Says in a sentence why a process does not answer, as far as that can be seen."""
    return _IS_STOPPED if member.is_stopped() else _IS_SILENT


def gone(
    rank: int, size: int, member: ProcessIdentity, name: str, *, elsewhere: bool = False
) -> Failure:
    """Describes a process whose connection ended without a goodbye.

    Args:
        rank: Rank of the process.
        size: Number of ranks of the job.
        member: Process that is gone.
        name: What messages call it.
        elsewhere: Whether it ran on another machine than the one that tells.
    """
    machine = ", or its machine has ended" if elsewhere else ""
    return Failure(
        rank=rank,
        size=size,
        host=member.host,
        type="ProcessGone",
        message=(
            f"{name} ({member.host}, pid {member.pid}) has died silently: killed by a "
            f"signal? (often out of memory: see dmesg{machine})"
        ),
        kind=failures.GONE,
    )


def cut_off(
    rank: int, size: int, member: ProcessIdentity, name: str, doing: str
) -> Failure:
    """Describes a process whose machine does not answer any more.

    Args:
        rank: Rank of the process.
        size: Number of ranks of the job.
        member: Process that is out of reach.
        name: What messages call it.
        doing: What it did when it was last heard of.
    """
    return Failure(
        rank=rank,
        size=size,
        host=member.host,
        type="MachineUnreachable",
        message=(
            f"{member.host} cannot be reached: the machine or the network to it is "
            f"down. {name} (pid {member.pid}) was last heard {doing}."
        ),
        kind=failures.CUT_OFF,
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
