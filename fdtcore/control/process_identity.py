"""A process of this machine under a name that no later process gets (Linux)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import NamedTuple

_STOPPED = "Tt"  # by a signal, or by a debugger
_DAEMONS = ("prted", "orted", "hydra_pmi_proxy")  # of Open MPI and MPICH
_STATE, _STARTED = 0, 19  # fields of /proc/PID/stat behind the program's name


class ProcessIdentity(NamedTuple):
    """One process of a job.

    Args:
        host: Name of its machine.
        pid: Its number there, which may be another process's later.
        started: When it began, in ticks since the machine's start; 0 where that
            cannot be read.
    """

    host: str
    pid: int
    started: int = 0

    @classmethod
    def own(cls, host: str) -> ProcessIdentity:
        """Returns that of this process.

        Args:
            host: What the job calls this machine.
        """
        fields = _fields(os.getpid())
        return cls(host, os.getpid(), int(fields[_STARTED]) if fields else 0)

    def is_stopped(self) -> bool:
        """Whether it is one of this machine, and stopped by a signal."""
        fields = self._read()
        return bool(fields) and fields[_STATE] in _STOPPED

    def kill(self) -> None:
        """Ends it if it is one of this machine, stopped or not."""
        if self._read():
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> list[str]:
        """Returns its fields; none for another machine's, or where it has ended."""
        if self.host != socket.gethostname() or not self.started:
            return []
        fields = _fields(self.pid)
        # A number is used again, and containers may share a name, but not the time.
        return fields if fields and int(fields[_STARTED]) == self.started else []


def end_launcher_of_this_host() -> None:
    """Ends the daemon of MPI that has started this process, where one has."""
    name = Path(f"/proc/{os.getppid()}/comm")
    with contextlib.suppress(OSError):
        if name.read_text().strip() in _DAEMONS:
            os.kill(os.getppid(), signal.SIGKILL)


def _fields(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
