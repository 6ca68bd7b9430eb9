"""The launcher's last line: what failed, where, and the way out."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from fdtcore.failures import EXCEPTION, GONE, Failure
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.hosts import is_local
from fdtcore.launcher.supervisor import Outcome
from fdtcore.output import log_file
from fdtcore.snapshots.stop_requests import STOPPED_CODE

_HINTS: dict[int, str] = {
    signal.SIGKILL: "Often the machine ran out of memory (see dmesg): use a smaller "
    "batch or fewer ranks.",
    signal.SIGSEGV: "A native library crashed: run it with python -X faulthandler.",
    signal.SIGILL: "A native library uses instructions this processor lacks.",
    signal.SIGBUS: "Often /dev/shm or the disk is full.",
    signal.SIGUSR1: "It came from outside, and the script has no handler for it.",
    signal.SIGUSR2: "It came from outside, and the script has no handler for it.",
}


def number(rank: int, size: int) -> str:
    """Returns what messages call a rank."""
    return f"rank {rank}/{size}"


def stopped_by(number: int) -> str:
    """Says in one line that a signal has ended a job."""
    return f"stopped by {signal.Signals(number).name}; every rank has ended."


def explain(
    outcome: Outcome,
    failure: Failure | None,
    *,
    size: int,
    directory: Path | None,
    name: Callable[[int, int], str] = number,
    again: str = "",
) -> str | None:
    """Says in one line why a job failed.

    Args:
        outcome: How the job ended.
        failure: What the failing rank recorded, if it could.
        size: Number of ranks of the job.
        directory: Folder of the ranks' files, or None where there is none.
        name: From rank and number of ranks to what messages call one.
        again: How to go on from where a job was, behind "Start it again".

    Returns:
        The line, or None where there is nothing to add: the job ended well, or its
        only process has spoken for itself.
    """
    if outcome.code == STOPPED_CODE and failure is None:
        return None  # rank 0 has said where the snapshot is
    if outcome.received:
        return stopped_by(outcome.received)
    if outcome.code == 0:
        return None
    if outcome.lost_host and (failure is None or failure.kind == GONE):
        return (
            f"{outcome.lost_host} is gone: the machine was reset or turned off, ssh "
            "has lost it, or a firewall keeps it from calling back. Open MPI ends a "
            f"job with each of its machines. Start it again{again}."
        )
    ended = outcome.ended
    if failure is not None and not (failure.kind == GONE and _saw(ended, failure)):
        return failure.sentence() + _see(failure.rank, directory, failure.host)
    if outcome.killed:
        who = "rank 0/1" if size == 1 else "the launcher"
        return f"{who} {_killed(outcome.killed)}"
    if size == 1:
        return None
    if ended is None and outcome.has_died:
        return (
            "a process has died, or its machine, and MPICH does not say which: killed "
            "by a signal? (often out of memory: see dmesg). Open MPI would name it. "
            f"Start it again{again}."
        )
    if ended is None:
        return (
            f"the launcher ended with exit code {outcome.code}. "
            "Its message is above; --verbose shows more."
        )
    where = f" ({ended.host})" if ended.host else ""
    how = f"ended with exit code {ended.code}."
    if ended.signal:
        how = _killed(ended.signal)
    said = f"{name(ended.rank, size)}{where} {how}"
    return said + _see(ended.rank, directory, ended.host)


def exit_code(outcome: Outcome, failure: Failure | None) -> int:
    """Returns the exit code of a job: that of the rank which failed first.

    A rank that vanishes on another machine is first missed by its peers, and the code
    that mpirun gives is theirs; so it may be where a rank has failed there.

    Args:
        outcome: How the job ended.
        failure: What the failing rank recorded, if it could.
    """
    is_gone = failure is not None and failure.kind == GONE and not outcome.received
    if is_gone and not outcome.lost_host and not _saw(outcome.ended, failure):
        return 128 + signal.SIGKILL
    if failure is None or failure.kind != EXCEPTION or outcome.received:
        return outcome.code
    if outcome.code and failure.type == SystemExit.__name__:
        # As Python takes it: a text is code 1.
        said = failure.message
        return int(said) & 0xFF if said.removeprefix("-").isdecimal() else 1
    if outcome.ended is not None and not _saw(outcome.ended, failure):
        return 1
    return outcome.code


def _saw(ended: Ended | None, failure: Failure | None) -> bool:
    """Whether mpirun saw more of a rank's death than the others of its job."""
    return ended is not None and failure is not None and ended.rank == failure.rank


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = _HINTS.get(number, "")
    return f"was killed by signal {number} ({name}). {hint}".rstrip()


def _see(rank: int, directory: Path | None, host: str) -> str:
    if rank == 0 or directory is None:
        return ""
    file = log_file(directory, rank)
    if directory.is_dir() and not file.exists() and host and not is_local(host):
        return f" See {file} on {host}."
    with contextlib.suppress(ValueError):
        file = file.relative_to(Path.cwd())
    return f" See {file}."
