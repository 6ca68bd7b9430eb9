"""The snapshots of one job, in a folder of theirs.

``fit-0002.safetensors`` is the state at the end of the second ``fit``; it stays.
``step-0003-00000120.safetensors`` is one in the middle of the third, and the last two
of these are kept until that ``fit`` is over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fdtcore.snapshots import tensor_file
from fdtcore.snapshots.tensor_file import Content

FORMAT = 1
_KEPT = 2
_FIT = re.compile(r"fit-(\d+)\.safetensors")
_STEP = re.compile(r"step-(\d+)-(\d+)\.safetensors")
# What a process that was killed has left beside its place.
_UNFINISHED = re.compile(r"\.(fit|step)-.*\.safetensors\.\d+")
_LOCK = "lock"
_LOOK_S = 0.1
# A job that was killed on another machine may hold its folder for a moment longer.
_RELEASE_S = 10.0


class Found(NamedTuple):
    """The snapshots that a job goes on from."""

    fits: list[Path]  # of the fits that are over, in their order
    step: Content | None  # of the fit that was under way
    place: Path | None  # the newest of these; None: there is none
    about: dict[str, Any]  # what it says of its job


class SnapshotFolder:
    """The folder of one job's snapshots; no other job may use it meanwhile.

    Args:
        path: The folder, made where it is missing.
        wait_s: How long to wait until another job has left it.

    Raises:
        ValueError: The folder is not writable, or another job uses it.
    """

    def __init__(self, path: str | os.PathLike[str], wait_s: float = 0.0):
        self.path = Path(path).absolute()
        self._lock = -1  # closed by the kernel when the process ends, however it does
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ValueError(
                "the folder of snapshots must be writable. "
                f"Received: {self.path} ({error.strerror}). Name another one."
            ) from error
        try:
            _lock(lock, wait_s)
        except BlockingIOError:
            owner = os.read(lock, 200).decode(errors="replace").strip()
            os.close(lock)
            raise ValueError(
                "a folder of snapshots is of one job at a time. Received: "
                f"{self.path}, which {owner or 'another process'} uses. "
                "End that job, or name another folder."
            ) from None
        except OSError:
            pass  # a file system without locks
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(lock, 0)
            os.write(
                lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode()
            )
        self._lock = lock
        _remove([p for p in self.path.iterdir() if _UNFINISHED.match(p.name)])

    def close(self) -> None:
        """Lets another job use the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def is_empty(self) -> bool:
        """Whether there is no snapshot of an earlier run."""
        return not any(
            _FIT.fullmatch(p.name) or _STEP.fullmatch(p.name)
            for p in self.path.iterdir()
        )

    def find(self, say: Callable[[str], None]) -> Found:
        """Returns the newest snapshots that are whole.

        Args:
            say: Is told of each one that is damaged, and passed over.

        Raises:
            ValueError: A snapshot is of a newer format.
        """
        fits: list[Path] = []
        about: dict[str, Any] = {}
        while (path := self.of_fit(len(fits) + 1)).exists():
            content = _whole(path, say)
            if content is None:
                break
            fits.append(path)
            about = content.about
        for path in self._steps(len(fits) + 1):
            if content := _whole(path, say):
                return Found(fits, content, path, content.about)
        return Found(fits, None, fits[-1] if fits else None, about)

    def of_fit(self, fit: int) -> Path:
        """Returns the file of a fit that is over, counted from 1."""
        return self.path / f"fit-{fit:04}.safetensors"

    def keep_step(self, fit: int, content: Content) -> Path:
        """Writes a snapshot of a fit that is under way; removes all but the last two.

        Raises:
            OSError: The disk is full, or the folder is gone or not writable.
        """
        older = self._steps(fit)
        number = _number(older[0]) + 1 if older else 1
        path = self.path / f"step-{fit:04}-{number:08}.safetensors"
        tensor_file.write(path, content)
        _remove(older[_KEPT - 1 :])
        return path

    def keep_fit(self, fit: int, content: Content) -> Path:
        """Writes the snapshot of a fit that is over, which needs no others any more.

        Raises:
            OSError: The disk is full, or the folder is gone or not writable.
        """
        path = self.of_fit(fit)
        tensor_file.write(path, content)
        _remove(self._steps(fit))
        return path

    def _steps(self, fit: int) -> list[Path]:
        """Returns the snapshots of a fit under way, the newest first."""
        found = [p for p in self.path.iterdir() if _of(p) == fit]
        return sorted(found, key=_number, reverse=True)


def newest(path: str | os.PathLike[str]) -> str:
    """Returns the name of the newest snapshot, whole or not; empty without any.

    Args:
        path: Folder of the snapshots, which another process may use.
    """
    try:
        names = os.listdir(path)
    except OSError:
        return ""
    steps = [n for n in names if _STEP.fullmatch(n)]
    fits = [n for n in names if _FIT.fullmatch(n)]
    # Those in a fit are removed when it is over.
    return max(steps or fits, default="")


def _lock(file: int, wait_s: float) -> None:
    ends_s = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends_s:
                raise
        time.sleep(_LOOK_S)


def opened(path: str, resume: str) -> SnapshotFolder:
    """Opens the folder of a job that begins, or goes on.

    Args:
        path: The folder.
        resume: ``"auto"`` goes on where there are snapshots, empty refuses them; a
            folder must be there.

    Raises:
        ValueError: The folder cannot be used so.
    """
    if resume not in ("", "auto") and not os.path.isdir(path):
        raise ValueError(
            "a folder to resume from must hold snapshots. Received: "
            f"{path}, which is not there. Write some with --snapshot DIR."
        )
    found = SnapshotFolder(path, wait_s=_RELEASE_S if resume else 0.0)
    if not resume and not found.is_empty():
        found.close()
        raise ValueError(
            "a folder of snapshots must be empty when a job begins. Received: "
            f"{path}. Add --resume auto to go on from them, or name another folder."
        )
    return found


def _of(path: Path) -> int | None:
    match = _STEP.fullmatch(path.name)
    return int(match[1]) if match else None


def _number(path: Path) -> int:
    match = _STEP.fullmatch(path.name)
    assert match is not None, path
    return int(match[2])


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _whole(path: Path, say: Callable[[str], None]) -> Content | None:
    """Returns what a snapshot holds; None where the file is damaged.

    Raises:
        ValueError: The snapshot is of a newer format.
    """
    try:
        content = tensor_file.read(path)
    except OSError as error:
        say(
            f"snapshot {path} cannot be read ({error.strerror}); an older one is taken."
        )
        return None
    except ValueError as error:
        say(f"snapshot {path} is damaged ({error}); an older one is taken.")
        return None
    found = content.about.get("format")
    if found != FORMAT:
        raise ValueError(
            f"a snapshot must be of format {FORMAT}. Received: format {found} in "
            f"{path}. Use the version that wrote it."
        )
    return content
