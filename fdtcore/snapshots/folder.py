"""The snapshots of one job, in a folder of theirs.

``fit-0002.safetensors`` is the state at the end of the second ``fit``; it stays.
``step-0003-00000120.safetensors`` is one in the middle of the third, and the last two
of these are kept until that ``fit`` is over. ``loop-0003-0007.safetensors`` is the end
of the seventh loop by hand before the third ``fit``, the same file as one of those in
the middle; it stays. ``job`` says which job they are of.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from fdtcore.snapshots import tensor_file
from fdtcore.snapshots.tensor_file import Content

FORMAT = 1
_KEPT = 2
_FIT = re.compile(r"fit-(\d+)\.safetensors")
_STEP = re.compile(r"step-(\d+)-(\d+)\.safetensors")
_LOOP = re.compile(r"loop-(\d+)-(\d+)\.safetensors")
_LOOPS_BYTES = 1 << 30  # of the ends of loops, of which there may be thousands
# What a process that was killed has left beside its place.
_UNFINISHED = re.compile(r"\.(fit|step|loop)-.*\.safetensors\.\d+")
_LOCK, _JOB = "lock", "job"
_LOOK_S = 0.1
# A job that was killed on another machine may hold its folder for a moment longer.
RELEASE_S = 10.0


class Found(NamedTuple):
    """The snapshots that a job goes on from."""

    fits: list[Path]  # of the fits that are over, in their order
    step: Content | None  # of the fit that was under way
    place: Path | None  # the newest of these; None: there is none
    about: dict[str, Any]  # what it says of its job

    @property
    def progress(self) -> list[int]:
        """How far the job has come: the fits that are over, and the place behind them.

        That is 1 in a fit, its epoch and batch; or before it 0, loop and batch.
        """
        about = self.step.about if self.step else {"loop": {"number": 0, "step": 0}}
        if loop := about.get("loop"):
            return [len(self.fits), 0, loop["number"], loop["step"]]
        at = about["position"]
        return [len(self.fits), 1, at["epoch"], at["step"]]


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
        self._has_all_loops = True  # of those that this process has kept
        self._given: dict[int, int] = {}  # fit -> number of its newest snapshot
        # Whether nobody has used it before, or its user has emptied it.
        self.is_new = not (self.path / _LOCK).exists()
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
            owner = owner_of(self.path)
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
        # Processes that read data for this one may outlive it, and would hold it.
        os.register_at_fork(after_in_child=self.close)
        _remove([p for p in self.path.iterdir() if _UNFINISHED.match(p.name)])

    def close(self) -> None:
        """Lets another job use the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def is_empty(self) -> bool:
        """Whether there is no snapshot of an earlier run."""
        return not any(_is_snapshot(p) for p in self.path.iterdir())

    @property
    def job(self) -> int:
        """When the job began that the folder is of; 0 where that is not known."""
        try:
            return int((self.path / _JOB).read_text())
        except (OSError, ValueError):
            return 0

    def belong_to(self, job: int) -> None:
        """Notes which job the folder is of from now on; a full disk is no failure."""
        with contextlib.suppress(OSError):
            (self.path / _JOB).write_text(f"{job}\n")

    def clear(self) -> None:
        """Removes all snapshots."""
        _remove([p for p in self.path.iterdir() if _is_snapshot(p)])

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

    def number(self, fit: int) -> int:
        """Returns the number of the next snapshot of a fit; each is given once."""
        newest = [_number(path) for path in self._steps(fit)[:1]]
        self._given[fit] = max(*newest, self._given.get(fit, 0), 0) + 1
        return self._given[fit]

    def of_step(self, fit: int, number: int) -> Path:
        """Returns the file of a snapshot of a fit that is under way."""
        return self.path / f"step-{fit:04}-{number:08}.safetensors"

    def keep_step(self, fit: int, content: Content, number: int = 0) -> Path:
        """Writes a snapshot of a fit that is under way; removes all but the last two.

        Args:
            fit: Number of the fit.
            content: What is kept.
            number: Of the snapshot, one of those that `number` gives; 0 takes the next.

        Raises:
            OSError: The disk is full, or the folder is gone or not writable.
        """
        path = self.of_step(fit, number or self.number(fit))
        older = self._steps(fit)
        tensor_file.write(path, content)
        _remove([p for p in older if p != path][_KEPT - 1 :])
        return path

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Writes a snapshot that another folder has, as the newest one of this.

        Args:
            name: Of the file there.
            pieces: What the file holds.

        Raises:
            OSError: The disk is full, or the folder is gone or not writable.
        """
        path = self.path / name
        if fit := _of(path):
            path = self.of_step(fit, max(_number(path), self.number(fit)))
        tensor_file.write_pieces(path, pieces)

    def keep_fit(self, fit: int, content: Content) -> Path:
        """Writes the snapshot of a fit that is over, which needs no others any more.

        Raises:
            OSError: The disk is full, or the folder is gone or not writable.
        """
        path = self.of_fit(fit)
        tensor_file.write(path, content)
        _remove(self._steps(fit))
        return path

    def loops(self) -> list[tuple[int, int]]:
        """Returns the loops whose end is kept: the fit behind each, and its number."""
        names = [_LOOP.fullmatch(p.name) for p in self.path.iterdir()]
        return sorted((int(name[1]), int(name[2])) for name in names if name)

    def of_loop(self, fit: int, loop: int) -> Path:
        """Returns the file of a loop that is over, before a fit."""
        return self.path / f"loop-{fit:04}-{loop:04}.safetensors"

    def keep_loop(self, fit: int, loop: int, path: Path) -> bool:
        """Keeps a snapshot as the end of a loop; removes the oldest of too many.

        Args:
            fit: Number of the fit behind the loop.
            loop: Number of the loop.
            path: The snapshot.

        Returns:
            Whether the ends of all loops so far are kept.

        Raises:
            OSError: The disk is full, or the folder is gone or not writable.
        """
        end = self.of_loop(fit, loop)
        end.unlink(missing_ok=True)
        try:
            os.link(path, end)
        except OSError:  # a file system without links
            tensor_file.write(end, tensor_file.read(path))
        kept = [self.of_loop(*at) for at in self.loops()]
        sizes = [p.stat().st_size for p in kept]
        while len(kept) > 1 and sum(sizes) > _LOOPS_BYTES:
            _remove([kept.pop(0)])
            sizes.pop(0)
            self._has_all_loops = False
        return self._has_all_loops

    def _steps(self, fit: int) -> list[Path]:
        """Returns the snapshots of a fit under way, the newest first."""
        found: list[Path] = []
        with contextlib.suppress(OSError):  # it is gone
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


def opened(path: str, resume: str, *, has_copies: bool = False) -> SnapshotFolder:
    """Opens the folder of a job that begins, or goes on.

    Args:
        path: The folder.
        resume: ``"auto"`` goes on where there are snapshots, empty refuses them; a
            folder must be there.
        has_copies: Whether there may be snapshots in other places: then the folder
            need not be there.

    Raises:
        ValueError: The folder cannot be used so.
    """
    is_demanded = resume not in ("", "auto")
    if is_demanded and not has_copies and not os.path.isdir(path):
        raise ValueError(
            "a folder to resume from must hold snapshots. Received: "
            f"{path}, which is not there. Write some with --snapshot DIR."
        )
    found = SnapshotFolder(path, wait_s=RELEASE_S if resume else 0.0)
    if not resume and not found.is_empty():
        found.close()
        raise ValueError(
            "a folder of snapshots must be empty when a job begins. Received: "
            f"{path}. Add --resume auto to go on from them, or name another folder."
        )
    return found


def owner_of(path: str | os.PathLike[str]) -> str:
    """Returns who has opened a folder last, as ``process 7 on node1``."""
    try:
        return Path(path, _LOCK).read_bytes()[:200].decode(errors="replace").strip()
    except OSError:
        return ""


def _is_snapshot(path: Path) -> bool:
    return any(kind.fullmatch(path.name) for kind in (_FIT, _STEP, _LOOP))


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
