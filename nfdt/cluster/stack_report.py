"""The stack of a worker that does not end, shown when the first server asks."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any

from fdtcore import output, tracebacks
from fdtcore.options import is_set
from nfdt.cluster.mpi import Tag

_LOOK_S = 0.5


def show_when_asked(peers: Any, hidden: tuple[str, ...]) -> None:
    """Starts the thread that waits for the first server to ask.

    A worker that is still there when the others have ended may be anywhere: in its
    script, or in what it does at the end of Python.

    Args:
        peers: This process's end of the job.
        hidden: Names of top-level packages whose frames are left out.
    """

    def wait() -> None:
        if peers.hear(peers.roles.server_rank(0), Tag.STACK, _LOOK_S):
            _show(peers.rank, hidden)

    threading.Thread(target=wait, name="nfdt standing", daemon=True).start()


def _show(worker: int, hidden: tuple[str, ...]) -> None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    debug = is_set(os.environ, "NFDT_DEBUG")
    stack = tracebacks.format_stack(frame, hidden=hidden, debug=debug)
    for stream in {sys.stderr, output.terminal()} if worker else {sys.stderr}:
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"worker {worker} is here:\n{stack}")
            stream.flush()
