"""The processes that a job leaves behind, found and ended (Linux).

mpirun ends the ranks; what the ranks started themselves, in sessions of their own,
and ranks whose mpirun was killed, are found here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    # Elsewhere than on Linux there is no such call, and mpirun's care must do.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent dies."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Asks for SIGTERM when the parent dies; for ``preexec_fn``."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_parent(*, poll_s: float = 1.0, grace_s: float = 2.0) -> None:
    """Ends this process, a rank, soon after the launcher that started it has died.

    An mpirun that is killed, or whose terminal is gone, leaves its ranks running.
    The kernel's own signal (`die_with_parent`) is of no use here: it comes when the
    *thread* that started the rank ends, and mpirun starts many ranks from threads.

    Args:
        poll_s: Seconds between two looks.
        grace_s: Seconds between SIGTERM and the end in any case.
    """
    parent, exit_at_once = os.getppid(), os._exit

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(poll_s)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        exit_at_once(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def descendants(pid: int) -> set[int]:
    """Returns the running descendants of ``pid``; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        # A process may end between the listing and the reading.
        with contextlib.suppress(OSError, ValueError):
            state, parent = (
                entry.read_text(errors="replace").rpartition(")")[2].split(None, 2)[:2]
            )
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found: set[int] = set()
    unseen = [pid]
    while unseen:
        below = [
            child for child in children.get(unseen.pop(), []) if child not in found
        ]
        found.update(below)
        unseen += below
    return found


def end_descendants(spare: Iterable[int], *, grace_s: float) -> set[int]:
    """Ends every descendant of this process but those of ``spare``.

    Args:
        spare: Process ids that were there before the job.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Returns:
        What could not be ended within a few seconds, usually nothing.
    """
    spared = set(spare)
    deadline = time.monotonic() + grace_s
    last = deadline + 3.0
    asked: set[int] = set()
    while left := descendants(os.getpid()) - spared:
        now = time.monotonic()
        if now > last:
            return left
        for pid in left if now >= deadline else left - asked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL if now >= deadline else signal.SIGTERM)
        asked |= left
        time.sleep(0.02)
    return set()


def reap(spare: Iterable[int]) -> None:
    """Collects adopted processes that have ended, so that no zombie stays."""
    for entry in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in set(map(int, entry.read_text().split())) - set(spare):
                os.waitpid(pid, os.WNOHANG)
