"""Copies of a job's snapshots in the memory of its machines, and which one counts.

A file in memory outlives the processes of a job, not its machine: so each machine but
that with the folder keeps one, and any that is left has the newest snapshot.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from fdtcore.snapshots import tensor_file
from fdtcore.snapshots.folder import RELEASE_S, SnapshotFolder
from fdtcore.snapshots.tensor_file import Content

MEMORY = Path("/dev/shm")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Copies(SnapshotFolder):
    """The copies of one job's snapshots in the memory of this machine.

    Args:
        original: Folder of the snapshots.
        wait_s: How long to wait until another job has left the copies.

    Raises:
        OSError: The memory is missing, or the folder is not this user's.
        ValueError: Another job uses the copies.
    """

    def __init__(self, original: str, wait_s: float = RELEASE_S):
        path = path_of(original)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
        # Anybody may make a folder of any name there.
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not is_own or found.st_mode & 0o077:
            raise OSError(errno.EPERM, f"{path} is not of this user alone")
        super().__init__(path, wait_s)

    def keep_step(self, fit: int, content: Content, number: int = 0) -> Path:
        """As that of any folder; there are never more than two."""
        for path in self._steps(fit)[1:]:
            path.unlink(missing_ok=True)
        self._check_room(content)
        return super().keep_step(fit, content, number)

    def keep_fit(self, fit: int, content: Content) -> Path:
        """As that of any folder."""
        self._check_room(content)
        return super().keep_fit(fit, content)

    def go_on_from(self, fit: int, content: Content, number: int) -> None:
        """Keeps the snapshot that all go on from, and no other one of its fit."""
        path = self.keep_step(fit, content, number)
        for other in self._steps(fit):
            if other != path:
                other.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the copies: the job is over, or goes on without them."""
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                path.unlink(missing_ok=True)
            self.path.rmdir()
        self.close()

    def _check_room(self, content: Content) -> None:
        """Leaves the others at least as much memory as it takes.

        Where this memory is full, the kernel ends whoever writes to it.
        """
        free = os.statvfs(self.path)
        left_bytes = free.f_bavail * free.f_frsize
        left_bytes = min(left_bytes, psutil.virtual_memory().available)
        if 2 * tensor_file.size_bytes(content) > left_bytes:
            raise OSError(
                errno.ENOSPC,
                f"it has {tensor_file.size_bytes(content) / 1e6:.0f} MB, and of the "
                f"{left_bytes / 1e6:.0f} MB left it may take half",
            )


def path_of(original: str | os.PathLike[str]) -> Path:
    """Returns where a machine has the copies of a folder of snapshots.

    Args:
        original: The folder; the same path on another disk has the same copies.
    """
    place = os.path.abspath(original)
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    return MEMORY / f"fdt-copies-{os.getuid()}-{digest}"


def are_there(original: str) -> bool:
    """Whether this machine has a folder for copies of snapshots."""
    return path_of(original).is_dir()


def memory_id() -> str:
    """Names the memory in which this process finds copies; empty where there is none.

    Machines have one each until they start again, and so have containers.
    """
    try:
        found = MEMORY.stat()
        boot = _BOOT.read_text().strip()
    except OSError:
        return ""
    return f"{socket.gethostname()} {boot} {found.st_dev} {found.st_ino}"


class Offer(NamedTuple):
    """What one folder of a machine has of a job's snapshots."""

    rank: int  # which sees it
    is_original: bool  # the folder itself, on a disk of the machine; else the copies
    job: int  # when that job began
    origin: str  # memory of the machine whose disk the job wrote to
    progress: list[int]  # how far it has come


def choose(offers: Sequence[Offer], job: int, gone: str | None) -> Offer | None:
    """Returns the snapshots that a job goes on from.

    Args:
        offers: Those that are whole, of all machines.
        job: When the job began that the folder of rank 0 is of; 0 where that folder
            does not say.
        gone: Memory of a machine on which the user has emptied the folder: copies of
            what stood there do not count. None where nobody has.

    Returns:
        The newest; of those that are alike rank 0's own folder.
    """
    counted = [one for one in offers if gone is None or one.origin != gone]
    job = job or max((one.job for one in counted), default=0)
    counted = [one for one in counted if one.job == job]
    return max(
        counted,
        key=lambda one: (one.progress, one.is_original, -one.rank),
        default=None,
    )
