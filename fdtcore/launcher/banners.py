"""The words of ``mpirun`` and ``srun`` about a failed job, kept from the user.

Pure: bytes in, bytes out. mpirun writes its words between two lines of dashes, in
the same stream as the ranks.
"""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

_RULE = re.compile(rb"(?:-{40,}|={80,})\r?\n?")
_PART_OF_RULE = re.compile(rb"(?:-*|=*)\r?")
_OPENINGS = (
    b"mpirun noticed",
    b"mpirun detected",
    b"mpirun has exited due to",
    b"mpiexec noticed",
    b"mpiexec detected",
    b"mpiexec has exited due to",
    b"prterun noticed",
    b"prterun detected",
    b"prterun has exited due to",
    b"Primary job ",
    b"MPI_ABORT was invoked",
    # Between hosts: a peer, a machine, or what Slurm has started there.
    b"An MPI communication peer process has unexpectedly",
    b"PRTE has lost communication with a remote daemon",
    b"A daemon failed to report back",
    b"srun returned non-zero exit status",
    b"=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES",
)
# Said on Ctrl-C, followed by an empty line. The launcher says in the end what it did.
_ABORTING = b"Abort is in progress"
# Said by the library of events of Open MPI 5 where a rank's pipe was closed first.
_EVENTS = b"[warn] Epoll "
# Said by a rank over Gloo whose peer has ended: what the ranks report says more.
_PEER_ENDED = re.compile(
    rb"\[[-\d]+ [\d:.]+: E \S+horovod/common/operations\.cc:\d+\] "
)
_PART_OF_PEER_ENDED = re.compile(rb"\[[-\d]*(?: [\d:.]*(?: (?:E(?: \S*)?)?)?)?")
# Of a peer that a library of MPI's has lost, of ssh, and of a group of processes.
_HOST_TAG = re.compile(rb"\[[\w.-]+:\d+\] ")
_PART_OF_TAG = re.compile(rb"\[[\w.-]*(:\d*\]?)?")
_OF_A_HOST = (b"*** ", b"plm:ssh: Warning: ")
_CLOSED = re.compile(rb"Connection to (\S+) closed by remote host\.\r?\n?")
_CLOSING = b"Connection to "
# What srun and its daemons say of a step that ends, or for want of a plugin.
_SRUN = re.compile(
    rb"srun: (?:cluster configuration lacks support for cpu binding|got SIGCONT"
    rb"|Job step aborted: |forcing job termination|interrupt \(|sending Ctrl-C "
    rb"|(?:launch/slurm: \S+ )?Terminating |error: [\w.-]+: tasks? [\d,-]+: )"
    rb"|slurmstepd[\w.-]*: error: \*\*\* STEP "
)
_SRUN_BEGINS = (b"srun: ", b"slurmstepd")
_TASK = re.compile(
    r"srun: error: (\S+): tasks? (\d+)[\d,-]*: (?:Exited with exit code (\d+)|(.+))",
    re.ASCII,
)
# What the daemons and mpiexec of MPICH say when one of them or a rank is gone.
_HYDRA = re.compile(
    rb"\[(?:proxy:[\d:]+|mpiexec)@[\w.-]+\] "
    rb"|YOUR APPLICATION TERMINATED WITH THE EXIT STRING: "
    rb"|This typically refers to a problem with your application\."
    rb"|Please see the FAQ page for debugging suggestions"
)
_HYDRA_BEGINS = (
    *(b"[proxy:", b"[mpiexec@", b"YOUR APPLICATION TERMINATED"),
    *(b"This typically refers", b"Please see the FAQ page"),
)
_LOST = re.compile(r"Remote (?:daemon: \S+ on node|host:) (\S+)", re.ASCII)
_KILLED = re.compile(
    r"rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)", re.ASCII
)
_EXITED = re.compile(r"Process name: \[.*?,(\d+)\] Exit code: (\d+)", re.ASCII)
_ABORTED = re.compile(r"invoked on rank (\d+) .*[Ee]rrorcode:? (\d+)", re.ASCII)
_SIGNALS = {signal.strsignal(number): number for number in signal.valid_signals()}


class Ended(NamedTuple):
    """How the first rank that failed ended."""

    rank: int
    host: str  # "" where mpirun does not say
    code: int  # exit code; 128 + signal for a rank that was killed
    signal: int  # 0 for a rank that exited by itself


def parse(banner: str) -> Ended | None:
    """Reads one of mpirun's banners; None where it names no rank's end."""
    text = " ".join(banner.split())  # mpirun wraps lines where it likes
    if match := _KILLED.search(text):
        signal = int(match[3])
        return Ended(int(match[1]), match[2], 128 + signal, signal)
    if match := _EXITED.search(text) or _ABORTED.search(text):
        return Ended(int(match[1]), "", int(match[2]), 0)
    if match := _TASK.search(text):
        host, rank, code, words = match.groups()
        if code:
            return Ended(int(rank), host, int(code), 0)
        if number := _SIGNALS.get(words.removesuffix(" (core dumped)")):
            return Ended(int(rank), host, 128 + number, number)
    return None


def compose(ended: Ended) -> str:
    """Says how a rank ended in mpirun's words, for launchers of our own."""
    rule = "-" * 74
    text = (
        "mpirun detected that one or more processes exited with non-zero status.\n"
        f"Process name: [[0,1],{ended.rank}]\nExit code: {ended.code}"
    )
    if ended.signal:
        text = (
            f"mpirun noticed that process rank {ended.rank} with PID 0 on node "
            f"{ended.host} exited on signal {ended.signal}."
        )
    return f"{rule}\n{text}\n{rule}\n"


class BannerFilter:
    """Takes mpirun's failure banners out of a stream and remembers the first.

    Everything else passes at once, also unfinished lines: progress bars and prompts
    must not wait for a line end.
    """

    def __init__(self) -> None:
        self.ended: Ended | None = None  # the first end that a banner told
        self.lost_host = ""  # the first machine that the launcher has lost
        self.has_died = False  # a rank or a daemon of MPICH, which does not say which
        self._partial = b""  # an unfinished line, not passed yet
        self._midline = False  # the line's beginning has been passed
        self._block: list[bytes] = []  # a rule and what follows it
        self._aborting = False  # the line before was about Ctrl-C
        self._inside = False  # the block is a banner for certain

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the stream and returns those to show now."""
        # Some versions end what they say with a zero byte.
        *lines, rest = (self._partial + data.replace(b"\0", b"")).split(b"\n")
        shown = b"".join(self._line(line + b"\n") for line in lines)
        if rest and not self._must_wait(rest):
            shown += b"".join(self._block) + rest
            self._block, rest, self._midline = [], b"", True
        self._partial = rest
        return shown

    def finish(self) -> bytes:
        """Returns what was held back when the stream ends."""
        # Who says so may be ended before its line is.
        is_noise = not self._midline and _PEER_ENDED.match(self._partial)
        held = b"".join(self._block) + (b"" if is_noise else self._partial)
        self._block, self._partial = [], b""
        if self._inside and self._note(held):
            return b""
        return held

    def _must_wait(self, partial: bytes) -> bool:
        if self._inside:
            return True
        if self._block:  # after a rule: could it still become an opening?
            words = partial.lstrip()
            return any(o.startswith(words) or words.startswith(o) for o in _OPENINGS)
        if self._midline:
            return False
        is_noise = any(
            noise.startswith(partial) or partial.startswith(noise)
            for noise in (_ABORTING, _EVENTS, _CLOSING, *_SRUN_BEGINS, *_HYDRA_BEGINS)
        )
        if tag := _HOST_TAG.match(partial):
            words = partial[tag.end() :]
            return any(o.startswith(words) or words.startswith(o) for o in _OF_A_HOST)
        parts = (_PART_OF_TAG, _PART_OF_PEER_ENDED)
        is_tag = any(part.fullmatch(partial) for part in parts)
        is_noise = is_noise or _PEER_ENDED.match(partial) is not None
        is_rule = _PART_OF_RULE.fullmatch(partial) is not None
        return is_noise or is_tag or is_rule

    def _line(self, line: bytes) -> bytes:
        if self._midline:
            self._midline = False
            return line
        was_aborting, self._aborting = self._aborting, line.startswith(_ABORTING)
        is_end = was_aborting and not line.strip()
        is_noise = line.startswith(_EVENTS) or _PEER_ENDED.match(line)
        if self._aborting or is_end or is_noise:
            return b""
        if closed := _CLOSED.fullmatch(line):
            self.lost_host = self.lost_host or closed[1].decode(errors="replace")
            return b""
        if _HYDRA.match(line):
            self.has_died = True
            return b""
        if _SRUN.match(line):
            self._note(line)
            return b""
        tag = _HOST_TAG.match(line)
        if tag and line.startswith(_OF_A_HOST, tag.end()):
            return b""
        is_rule = _RULE.fullmatch(line) is not None
        if self._inside:
            self._block.append(line)
            if is_rule:
                self._note(b"".join(self._block))
                self._block, self._inside = [], False
            return b""
        if self._block and line.startswith(_OPENINGS):
            self._block.append(line)
            self._inside = True
            return b""
        passed, self._block = b"".join(self._block), []
        if is_rule:
            self._block = [line]
            return passed
        return passed + line

    def _note(self, block: bytes) -> bool:
        text = block.decode(errors="replace")
        if lost := _LOST.search(" ".join(text.split())):
            self.lost_host = self.lost_host or lost[1]
        ended = parse(text)
        self.ended = self.ended or ended
        return ended is not None or bool(lost)
