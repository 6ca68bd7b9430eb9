"""Spare processes of an elastic job: they have loaded TensorFlow, and wait.

Of the time from a failure to the next step most is the import of TensorFlow. A rank of
the next run is a small process then, which hands its place to a spare (``stand_in``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fdtcore.launcher.descendants import die_with_parent
from fdtcore.launcher.launchers import Job
from fdtcore.launcher.stand_in import TAKEN


class Spares:
    """The spares of one job, on this machine.

    Args:
        module: Of the framework: waits to become a rank.
    """

    def __init__(self, module: str):
        self._module = module
        # Of this user alone: whoever connects decides what a spare runs.
        self.folder = Path(tempfile.mkdtemp(prefix="fdt-spares-"))
        self._numbers = itertools.count()
        self._processes: dict[Path, subprocess.Popen[bytes]] = {}

    def job(self, job: Job) -> Job:
        """Returns a job whose ranks are done by spares, as far as there are any."""
        words = (sys.executable, "-m", "fdtcore.launcher.stand_in", str(self.folder))
        return dataclasses.replace(job, command=(*words, *job.command))

    def fill(self, count: int, environ: Mapping[str, str]) -> None:
        """Starts spares where there are fewer than wanted.

        Args:
            count: Ranks that this machine will have.
            environ: Their environment.
        """
        self._forget_ended()
        while len(self.waiting()) < count:
            path = self.folder / f"{next(self._numbers)}.socket"
            self._processes[path] = subprocess.Popen(
                [sys.executable, "-m", self._module, str(path), str(count)],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
                start_new_session=True,
            )

    def waiting(self) -> set[int]:
        """Returns the processes that are nobody's rank."""
        return {
            process.pid
            for path, process in self._processes.items()
            if not _taken(path).exists()
        }

    def end_taken(self) -> None:
        """Ends those that were ranks of a run that is over, whatever they do."""
        for path, process in list(self._processes.items()):
            if _taken(path).exists():
                self._end(path)
                del self._processes[path]
                process.wait()

    def close(self) -> None:
        """Ends all of them."""
        for path in self._processes:
            self._end(path)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget_ended(self) -> None:
        ended = [
            p for p, process in self._processes.items() if process.poll() is not None
        ]
        for path in ended:
            del self._processes[path]
            path.unlink(missing_ok=True)

    def _end(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self._processes[path].kill()
        for place in (path, _taken(path), path.with_name(f".{path.name}")):
            place.unlink(missing_ok=True)


def _taken(path: Path) -> Path:
    return path.with_name(f"{path.name}{TAKEN}")
