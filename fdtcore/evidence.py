"""Evidence that this process has trained, and that it exchanged with the others.

A job whose processes train, each for itself, looks like any other until its results are
compared. So what trains is noted, and that something was exchanged, and a job that
has nothing of the second ends with an error.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

_steps: list[str] = []  # what has trained alone, as messages call it
_has_exchanged: list[bool] = [False]
_is_looked_for: list[bool] = [False]


def is_wanted() -> bool:
    """Whether it matters still what trains: in a job that has exchanged nothing yet."""
    return _is_looked_for[0] and not _has_exchanged[0]


def note_step(what: str) -> None:
    """Notes that something has trained without the other processes."""
    if not _steps:
        _steps.append(what)


def note_exchange() -> None:
    """Notes that what this process trains was exchanged with the others."""
    _has_exchanged[0] = True


def problem(name: str, size: int) -> str | None:
    """Returns what is wrong with a job in which nothing was exchanged, if anything.

    Args:
        name: Name of the framework.
        size: Number of processes of the job.
    """
    if _has_exchanged[0] or not _steps or size == 1:
        return None
    return (
        "a job of several processes must exchange what it trains. Received: "
        f"{_steps[0]} in a job of {size}, and nothing exchanged. Pass what you train "
        f"to {name}.distribute, or start the script with {name} run."
    )


def look_at_the_end(name: str, size: Callable[[], int], end: Callable) -> None:
    """Ends this process with an error where it has trained without the others.

    Args:
        name: Name of the framework.
        size: Returns the number of processes of the job.
        end: Takes the message, and ends the process with an error.
    """
    pid = os.getpid()
    _is_looked_for[0] = True

    def look() -> None:
        text = problem(name, size())
        if text is not None and os.getpid() == pid:  # else a child of the user's
            end(text)

    atexit.register(look)
