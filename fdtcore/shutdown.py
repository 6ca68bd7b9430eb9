"""The end of a process of a job: its last words, its exit, and a barrier before it.

A launcher ends all ranks at the first that exits with an error, whatever the others
still have to say. Ranks that can talk tell each other over the control line. Those that
cannot note in a file of the job's folder that they have spoken, and wait for the
others. On several machines the folder may not be shared: then only the time limit lets
a rank go.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from fdtcore import output

# Without the end of MPI and of Python. NFDT gives a script another ``os._exit``.
exit_at_once = os._exit

# For ranks that find out the same at nearly one moment, on a machine that is busy.
LIMIT_S = 10.0
_SPEAK_S = 3.0  # for rank 0, where nothing tells whether it has spoken
_LOOK_S = 0.02
_NAME = ".ended"


def leave(code: int) -> NoReturn:
    """Ends this process at once, with what it has printed written out."""
    output.flush()
    exit_at_once(code)


def wait_for_others(
    directory: str | os.PathLike[str] | None,
    rank: int,
    others: Collection[int],
    limit_s: float = LIMIT_S,
) -> None:
    """Returns when all have said why they end; to be called when this rank has.

    Args:
        directory: The job's folder; None where there is none.
        rank: This rank.
        others: The ranks that end for the same reason.
        limit_s: How long to wait at most.
    """
    if directory is None:
        time.sleep(_SPEAK_S if rank else 0.0)  # rank 0 has the terminal
        return
    note(directory, rank)
    deadline_s = time.monotonic() + limit_s
    while not set(others) <= _noted(directory) and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)


def note(directory: str | os.PathLike[str], rank: int) -> None:
    """Notes that this rank has said why it ends; any thread may call it."""
    with contextlib.suppress(OSError):  # no folder, a full disk: the time limit is left
        os.makedirs(directory, exist_ok=True)
        with open(Path(directory, _NAME), "a", encoding="ascii") as file:
            file.write(_line(rank) + "\n")


def _noted(directory: str | os.PathLike[str]) -> set[int]:
    try:
        lines = Path(directory, _NAME).read_text(encoding="ascii").split("\n")
    except OSError:
        return set()
    prefix = _line(-1).removesuffix("-1")
    own = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return {int(number) for number in own if number.isdigit()}


def _line(rank: int) -> str:
    # A folder that is used again must not tell of an earlier job.
    return f"{output.job_name(os.environ) or ''} {rank}"
