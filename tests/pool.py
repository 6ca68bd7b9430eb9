"""Jobs in the background, no more at a time than there are cores to run them.

``pytest -n`` tests in several processes. All of them count: a job that runs holds a
slot, which is a lock on a file of the folder that they share.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

LOOK_S = 0.05


class Pool(concurrent.futures.ThreadPoolExecutor):
    """Threads that wait for jobs.

    Args:
        folder: Is the same for all that share the cores.
        count: Number of jobs that run at a time.
    """

    def __init__(self, folder: pathlib.Path, count: int):
        super().__init__(count)
        folder.mkdir(exist_ok=True)
        self._paths = [folder / f"slot-{index}" for index in range(count)]

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **words: Any
    ) -> concurrent.futures.Future[Any]:
        """Calls a function in a thread, when a slot is free."""

        def run() -> Any:
            with self.slot():
                return function(*args, **words)

        return super().submit(run)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Holds a slot; waits for one where all are held."""
        with contextlib.ExitStack() as files:
            opened = [files.enter_context(path.open("w")) for path in self._paths]
            while not any(map(_is_locked, opened)):
                time.sleep(LOOK_S)
            yield  # closing the file gives the slot back


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
