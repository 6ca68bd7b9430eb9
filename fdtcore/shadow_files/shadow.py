"""The shadow of a rank: the folder that takes its file changes.

An unchanged script runs on every rank, so each of its files would be written once a
rank, at the same time and at the same place: two ranks that write one zip archive
leave a broken one. Here rank 0 alone changes the file system. What another rank
writes goes to a folder of its own, its shadow, where that rank finds it again: a
script that reads back what it wrote goes on.

Of what rank 0 changes meanwhile, a rank sees what was there when they last met: what
rank 0 has made since then is not there yet (``fdtcore/shadow_files/journal.py``).

Done in Python's own functions, and in those of TensorFlow and h5py that take names of
files (``fdtcore/glue/native_files.py``): other libraries that open files in C see the
real ones. Temporary files have another name on every rank anyway; their folder is the
shadow.
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
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from fdtcore.shadow_files.journal import Journal

# A name of a file, and what ``open`` and ``os.stat`` take: perhaps a descriptor.
PathName: TypeAlias = str | bytes | os.PathLike[Any]
FileName: TypeAlias = int | PathName
# What ``os.listdir`` or ``os.scandir`` gives.
FolderEntry: TypeAlias = str | bytes | os.DirEntry[Any]
_SYSTEM = ("/dev", "/proc", "/sys")
LOOKING = ("stat", "lstat", "access", "chmod", "utime", "listdir", "scandir")
LISTING = ("listdir", "scandir")
REMOVING = ("rmdir", "remove", "unlink")
MOVING = ("rename", "replace")
LINKING = ("link", "symlink")
TEMPORARY = ("mkdtemp", "mkstemp", "NamedTemporaryFile")
# As they are before anything is installed.
REAL: Any = types.SimpleNamespace(
    open=builtins.open,
    os_open=os.open,
    mkdir=os.mkdir,
    chdir=os.chdir,
    getcwd=os.getcwd,
    rmtree=shutil.rmtree,
    **{n: getattr(os, n) for n in (*LOOKING, *REMOVING, *MOVING, *LINKING)},
    **{name: getattr(tempfile, name) for name in TEMPORARY},
)


class Shadow:
    """One rank's view of the file system.

    Args:
        folder: Where this rank's files are, temporary ones and its shadow.
        apart: Folders in which nothing is shadowed.
        journal: What rank 0 has made since the ranks last met.
    """

    def __init__(
        self, folder: str, apart: Iterable[str] = (), journal: Journal | None = None
    ):
        self.journal = journal
        self.root = os.path.abspath(os.path.join(folder, "shadow"))
        self.apart = {*_SYSTEM, *map(os.path.abspath, [folder, *apart])}
        self.is_released = False
        # Removed here since the ranks last met; rank 0 may not have come to it.
        self.removed: set[str] = set()
        # Where the program is, if that is in the shadow only.
        self.folder: str | None = None

    def covered(self, file: FileName | None) -> str | None:
        """Returns the absolute path of a file that is not to be written here."""
        if file is None or isinstance(file, int):
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
        if self.folder is not None:
            REAL.chdir(self.folder)
            self.folder = None
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
        if kind is None:
            return place if self._is_ahead(path) else path
        return path if kind == stat.S_IFDIR == _kind(path) else place

    def _is_ahead(self, path: str) -> bool:
        """Whether rank 0 has made what this rank's program has not come to."""
        made = self.journal.made() if self.journal is not None else {}
        while made and path not in made:
            path, child = os.path.dirname(path), path
            if path == child:
                return False
        return bool(made) and _kind(self.place(path)) is None

    def met(self, position: int) -> None:
        """Notes that this rank has met rank 0, which had made what it made by then.

        Args:
            position: Of rank 0 in its journal.
        """
        self.removed.clear()  # rank 0 has come to it as well
        if self.journal is not None:
            self.journal.met(position)

    def made(self, path: str) -> str:
        """Returns where this rank makes what belongs at ``path``, file or folder."""
        place = self.place(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        return place

    def writable(self, path: str, *, empty: bool, exists: bool) -> str:
        """Returns where this rank opens ``path`` for writing.

        Args:
            path: Absolute path, as the user's program knows the file.
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

    def open(self, file: FileName, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """``open``."""
        path = self.covered(file)
        if path is not None and kwargs.get("opener") is None and isinstance(mode, str):
            found = self.seen(path)
            if set(mode) & set("wax+"):
                empty = "w" in mode or "x" in mode
                found = self.writable(path, empty=empty, exists="r" in mode)
            file = self.named(file, path, found)
        return REAL.open(file, mode, *args, **kwargs)

    def os_open(self, file: PathName, flags: int, *args: Any, **kwargs: Any) -> int:
        """``os.open``."""
        path = self.covered(file)
        if path is not None and kwargs.get("dir_fd") is None:
            found = self.seen(path)
            if flags & (os.O_WRONLY | os.O_RDWR):
                empty = bool(flags & (os.O_TRUNC | os.O_EXCL))
                exists = not flags & os.O_CREAT
                found = self.writable(path, empty=empty, exists=exists)
            file = self.named(file, path, found)
        return REAL.os_open(file, flags, *args, **kwargs)

    def named(self, file: FileName, path: str, found: str) -> Any:
        """Returns the name of a file that was found: the program's own if it can be."""
        return file if found == path and self.folder is None else found

    def chdir(self, path: FileName) -> None:
        """``os.chdir``: rank 0 may not have made the folder yet."""
        found = self.covered(path)
        place = "" if found is None else self.place(found)
        if found is None or self.seen(found) != place:
            try:
                REAL.chdir(path if found is None else self.named(path, found, found))
                self.folder = None
                return
            except FileNotFoundError:  # or it has just removed it
                if _kind(place) is None:
                    raise
        if _kind(place) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        REAL.chdir(place)
        self.folder = found

    def getcwd(self) -> str:
        """``os.getcwd``."""
        return REAL.getcwd() if self.folder is None else self.folder

    def getcwdb(self) -> bytes:
        """``os.getcwdb``."""
        return os.fsencode(self.getcwd())

    def temporary(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A function of ``tempfile``: what it makes is this rank's alone."""
        call = inspect.signature(getattr(REAL, name)).bind(*args, **kwargs)
        path = self.covered(call.arguments.get("dir"))
        if path is not None and os.path.isdir(path):
            os.makedirs(self.place(path), exist_ok=True)
            call.arguments["dir"] = self.place(path)
        return getattr(REAL, name)(*call.args, **call.kwargs)

    def look(self, name: str, path: FileName = ".", *args: Any, **kwargs: Any) -> Any:
        """A function of ``os`` that changes no folder."""
        found = self.covered(path) if kwargs.get("dir_fd") is None else None
        if found is not None:
            seen = self.seen(found)
            path = self.named(path, found, seen)
            if seen == found and name in LISTING:
                return self._listed(name, path, found)
        return getattr(REAL, name)(path, *args, **kwargs)

    def _listed(self, name: str, path: FileName, folder: str) -> Any:
        """Lists a real folder: what this rank sees of it, and its own files there."""
        place = self.place(folder)
        own = os.fsencode(place) if isinstance(path, bytes) else place
        mine = [] if _kind(place) is None else list(getattr(REAL, name)(own))
        known = {_name(entry) for entry in mine}
        found = getattr(REAL, name)(path)
        shown = [e for e in found if _name(e) not in known and self._shows(folder, e)]
        return mine + shown if name == "listdir" else _Entries(mine + shown)

    def _shows(self, folder: str, entry: FolderEntry) -> bool:
        path = os.path.join(folder, os.fsdecode(_name(entry)))
        return not _within(path, self.removed) and not self._is_ahead(path)

    def mkdir(self, path: PathName, *args: Any, **kwargs: Any) -> None:
        """``os.mkdir``: that rank 0 has made the folder already is no error."""
        found = self.covered(path) if kwargs.get("dir_fd") is None else None
        if found is None:
            return REAL.mkdir(path, *args, **kwargs)
        if _kind(self.seen(os.path.dirname(found))) != stat.S_IFDIR:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        os.makedirs(os.path.dirname(self.place(found)), exist_ok=True)
        return REAL.mkdir(self.place(found), *args, **kwargs)

    def remove(self, name: str, path: PathName, *args: Any, **kwargs: Any) -> None:
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
        is_elsewhere = any(value is not None for value in kwargs.values())  # dir_fd
        if (source is None and target is None) or is_elsewhere:
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

    def link(self, name: str, src: PathName, dst: PathName, **kwargs: Any) -> None:
        """``os.link`` and ``os.symlink``: rank 0 makes the link."""
        if kwargs.get("dir_fd") is not None or self.covered(dst) is None:
            getattr(REAL, name)(src, dst, **kwargs)


class _Entries:
    """What ``os.scandir`` returns, of entries that were found elsewhere."""

    def __init__(self, entries: Iterable[Any]):
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""


def _name(entry: FolderEntry) -> Any:
    return getattr(entry, "name", entry)


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
