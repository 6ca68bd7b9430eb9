"""Files that a program writes by itself, on the ranks that are not to write them.

An unchanged script runs on every rank, so each of its files would be written once a
rank, at the same time and at the same place: two ranks that write one zip archive
leave a broken one. Here rank 0 alone changes the file system. What another rank
writes goes to a folder of its own, its shadow, where that rank finds it again: a
script that reads back what it wrote goes on.

Done in Python's own functions: libraries that open files in C see the real ones.
Temporary files have another name on every rank anyway; their folder is the shadow.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import inspect
import os
import shutil
import stat
import tempfile
import types
from collections.abc import Iterable
from typing import Any

_SYSTEM = ("/dev", "/proc", "/sys")
LOOKING = ("stat", "lstat", "access", "chmod", "utime", "listdir", "scandir")
REMOVING = ("rmdir", "remove", "unlink")
MOVING = ("rename", "replace")
LINKING = ("link", "symlink")
TEMPORARY = ("mkdtemp", "mkstemp", "NamedTemporaryFile")
# As they are before anything is installed.
REAL: Any = types.SimpleNamespace(
    open=builtins.open,
    os_open=os.open,
    mkdir=os.mkdir,
    rmtree=shutil.rmtree,
    **{n: getattr(os, n) for n in (*LOOKING, *REMOVING, *MOVING, *LINKING)},
    **{name: getattr(tempfile, name) for name in TEMPORARY},
)


class Shadow:
    """One rank's view of the file system.

    Args:
        folder: Where this rank's files are, temporary ones and its shadow.
        apart: Folders in which nothing is shadowed.
    """

    def __init__(self, folder: str, apart: Iterable[str] = ()):
        self.root = os.path.abspath(os.path.join(folder, "shadow"))
        self.apart = {*_SYSTEM, *map(os.path.abspath, [folder, *apart])}
        self.is_released = False
        # Removed here since the ranks last met; rank 0 may not have come to it.
        self.removed: set[str] = set()

    def covered(self, file: Any) -> str | None:
        """Returns the absolute path of a file that is not to be written here."""
        if isinstance(file, int):
            return None
        try:
            path = os.path.abspath(os.fsdecode(file))
        except TypeError:
            return None
        if _within(path, self.apart):
            return None
        known = not self.is_released or _kind(self.place(path)) is not None
        return path if known else None

    def release(self) -> None:
        """Ends the shadow, but for files that stand in it already."""
        for folder, _, _ in os.walk(self.root):
            with contextlib.suppress(FileExistsError):
                REAL.mkdir(folder.removeprefix(self.root) or os.sep)
        self.is_released = True

    def place(self, path: str) -> str:
        """Returns where this rank writes what belongs at ``path``."""
        return self.root + path

    def seen(self, path: str) -> str:
        """Returns where this rank finds ``path``: in its shadow or in its place."""
        place = self.place(path)
        kind = _kind(place)
        if _within(path, self.removed):
            return place
        if kind is None or (kind == stat.S_IFDIR and _kind(path) == kind):
            return path
        return place

    def writable(self, path: str, *, empty: bool, exists: bool) -> str:
        """Returns where this rank opens ``path`` for writing.

        Args:
            path: Absolute path.
            empty: Whether what is there is to be lost.
            exists: Whether it must be there.
        """
        source = self.seen(path)
        kind, folder = _kind(source), _kind(self.seen(os.path.dirname(path)))
        if kind not in (None, stat.S_IFREG) or folder != stat.S_IFDIR:
            return source  # a device, or an error of Python's own
        if kind is None and exists:
            return source
        place = self.place(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if not empty and source != place:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, place)
        return place

    def open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """``open``."""
        path = self.covered(file)
        if path is not None and kwargs.get("opener") is None and isinstance(mode, str):
            found = self.seen(path)
            if set(mode) & set("wax+"):
                empty = "w" in mode or "x" in mode
                found = self.writable(path, empty=empty, exists="r" in mode)
            file = file if found == path else found
        return REAL.open(file, mode, *args, **kwargs)

    def os_open(self, file: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        """``os.open``."""
        path = self.covered(file)
        if path is not None and kwargs.get("dir_fd") is None:
            found = self.seen(path)
            if flags & (os.O_WRONLY | os.O_RDWR):
                empty = bool(flags & (os.O_TRUNC | os.O_EXCL))
                exists = not flags & os.O_CREAT
                found = self.writable(path, empty=empty, exists=exists)
            file = file if found == path else found
        return REAL.os_open(file, flags, *args, **kwargs)

    def temporary(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A function of ``tempfile``: what it makes is this rank's alone."""
        call = inspect.signature(getattr(REAL, name)).bind(*args, **kwargs)
        path = self.covered(call.arguments.get("dir"))
        if path is not None and os.path.isdir(path):
            os.makedirs(self.place(path), exist_ok=True)
            call.arguments["dir"] = self.place(path)
        return getattr(REAL, name)(*call.args, **call.kwargs)

    def look(self, name: str, path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        """A function of ``os`` that changes no folder."""
        found = self.covered(path) if kwargs.get("dir_fd") is None else None
        if found is not None and self.seen(found) != found:
            path = self.seen(found)
        return getattr(REAL, name)(path, *args, **kwargs)

    def mkdir(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """``os.mkdir``: that rank 0 has made the folder already is no error."""
        found = self.covered(path) if kwargs.get("dir_fd") is None else None
        if found is None:
            return REAL.mkdir(path, *args, **kwargs)
        if _kind(self.seen(os.path.dirname(found))) != stat.S_IFDIR:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        os.makedirs(os.path.dirname(self.place(found)), exist_ok=True)
        return REAL.mkdir(self.place(found), *args, **kwargs)

    def remove(self, name: str, path: Any, *args: Any, **kwargs: Any) -> None:
        """``os.remove`` and the like: that rank 0 has removed it is no error."""
        found = self.covered(path) if kwargs.get("dir_fd") is None else None
        if found is None:
            getattr(REAL, name)(path, *args, **kwargs)
            return
        place = self.place(found)
        if name == "rmtree":
            REAL.rmtree(place, ignore_errors=True)
        elif _kind(place) is not None:
            getattr(REAL, name)(place)
        self.removed.add(found)

    def move(self, name: str, src: Any, dst: Any, **kwargs: Any) -> None:
        """``os.rename`` and ``os.replace``: rank 0 moves what was there before."""
        source, target = self.covered(src), self.covered(dst)
        if (source is None and target is None) or kwargs:
            getattr(REAL, name)(src, dst, **kwargs)
            return
        old = src if source is None else self.seen(source)
        new = dst if target is None else self.place(target)
        os.makedirs(os.path.dirname(os.path.abspath(new)), exist_ok=True)
        if old != source:
            shutil.move(old, new)
        elif _kind(old) == stat.S_IFREG:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(old, new)
        if source is not None:
            self.removed.add(source)

    def link(self, name: str, src: Any, dst: Any, **kwargs: Any) -> None:
        """``os.link`` and ``os.symlink``: rank 0 makes the link."""
        if kwargs.get("dir_fd") is not None or self.covered(dst) is None:
            getattr(REAL, name)(src, dst, **kwargs)


def _within(path: str, folders: set[str]) -> bool:
    while path not in folders:
        path, child = os.path.dirname(path), path
        if path == child:
            return False
    return True


def _kind(path: str) -> int | None:
    """The type of what is at ``path``, as in ``st_mode``, or None."""
    try:
        return stat.S_IFMT(REAL.stat(path).st_mode)
    except (OSError, ValueError):
        return None
