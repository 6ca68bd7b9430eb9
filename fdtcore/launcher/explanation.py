"""The launcher's last line: what failed, where, and the way out."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from fdtcore.failures import GONE, Failure
from fdtcore.launcher.supervisor import Outcome
from fdtcore.output import log_file

_HINTS: dict[int, str] = {
    signal.SIGKILL: "Often the machine ran out of memory (see dmesg): use a smaller "
    "batch or fewer ranks.",
    signal.SIGSEGV: "A native library crashed: run it with python -X faulthandler.",
    signal.SIGILL: "A native library uses instructions this processor lacks.",
    signal.SIGBUS: "Often /dev/shm or the disk is full.",
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
) -> str | None:
    """Says in one line why a job failed.

    Args:
        outcome: How the job ended.
        failure: What the failing rank recorded, if it could.
        size: Number of ranks of the job.
        directory: Folder of the ranks' files, or None where there is none.
        name: From rank and number of ranks to what messages call one.

    Returns:
        The line, or None where there is nothing to add: the job ended well, or its
        only process has spoken for itself.
    """
    if outcome.received:
        return stopped_by(outcome.received)
    if outcome.code == 0:
        return None
    ended = outcome.ended
    if failure is not None and not (failure.kind == GONE and ended):
        return failure.sentence() + _see(failure.rank, directory)
    if outcome.killed:
        who = "rank 0/1" if size == 1 else "the launcher"
        return f"{who} {_killed(outcome.killed)}"
    if size == 1:
        return None
    if ended is None:
        return (
            f"the launcher ended with exit code {outcome.code}. "
            "Its message is above; --verbose shows more."
        )
    where = f" ({ended.host})" if ended.host else ""
    how = f"ended with exit code {ended.code}."
    if ended.signal:
        how = _killed(ended.signal)
    return f"{name(ended.rank, size)}{where} {how}" + _see(ended.rank, directory)


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = _HINTS.get(number, "")
    return f"was killed by signal {number} ({name}). {hint}".rstrip()


def _see(rank: int, directory: Path | None) -> str:
    if rank == 0 or directory is None:
        return ""
    file = log_file(directory, rank)
    with contextlib.suppress(ValueError):
        file = file.relative_to(Path.cwd())
    return f" See {file}."
