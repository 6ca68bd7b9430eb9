"""The lock that lets one thread train at a time: ranks match calls by their order."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

# The thread that trains or evaluates now, and in which call; the lock of both.
_busy: list[tuple[threading.Thread, str]] = []
_lock = threading.Lock()


class TwoThreads(RuntimeError):
    """Two threads of a process train at once, which ends its job."""


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Surrounds a call in which ranks meet; ends the job if another thread is in one.

    An exception would end the user's thread alone, and the other would train on.

    Args:
        name: Name of the call, such as ``fit``.
    """
    me = threading.current_thread()
    with _lock:
        other, its_call = _busy[0] if _busy else (me, name)
        if other is me:
            _busy.append((me, name))
    if other is not me:
        _end(
            TwoThreads(
                "a program trains in one thread at a time. Received: "
                f"{name} in thread {me.name!r} during {its_call} in {other.name!r}. "
                "Train one model after the other, or each in a job of its own."
            )
        )
    try:
        yield
    finally:
        with _lock:
            _busy.pop()


def _end(error: TwoThreads) -> None:
    sys.excepthook(TwoThreads, error, None)
    # One process alone has nobody to tell.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)
