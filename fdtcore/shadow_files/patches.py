"""The replacements of Python's functions that take file names."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import functools
import io
import os
import pathlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fdtcore.shadow_files.journal import Journal
from fdtcore.shadow_files.rank0_view import Watch
from fdtcore.shadow_files.shadow import (
    LINKING,
    LOOKING,
    MOVING,
    REAL,
    REMOVING,
    TEMPORARY,
    Shadow,
)

_installed: list[Shadow] = []
_journals: list[Journal] = []
_watches: list[Watch] = []
_released = [False]


def install(apart: Iterable[str] = (), journal_path: str | None = None) -> Shadow:
    """Gives this process a shadow, which is removed when the process ends in order.

    Args:
        apart: Folders in which nothing is shadowed.
        journal_path: Where rank 0 notes what it has made since the ranks last met.
    """
    folder = tempfile.mkdtemp(prefix="rank-files-")
    journal = None
    if journal_path is not None:
        journal = Journal(journal_path).shared(os.path.join(folder, "journal"))
    shadow = Shadow(folder, apart, journal)
    _installed.append(shadow)
    atexit.register(_remove, folder, os.getpid())
    tempfile.tempdir = folder
    for name in TEMPORARY:
        setattr(tempfile, name, functools.partial(shadow.temporary, name))
    shutil.rmtree = functools.partial(shadow.remove, "rmtree")  # type: ignore
    functions: dict[str, Callable[..., Any]] = {
        name: getattr(shadow, name) for name in ("mkdir", "chdir", "getcwd", "getcwdb")
    }
    for method, names in (
        (shadow.look, LOOKING),
        (shadow.remove, REMOVING),
        (shadow.move, MOVING),
        (shadow.link, LINKING),
    ):
        functions |= {name: functools.partial(method, name) for name in names}
    _replace(functions, shadow.open, shadow.os_open)
    return shadow


def begin_journal() -> str:
    """Makes the file in which rank 0 notes what its program makes; returns its path."""
    folder = tempfile.mkdtemp(prefix="rank-files-")
    atexit.register(_remove, folder, os.getpid())
    path = os.path.join(folder, "journal")
    with open(path, "wb"):
        pass
    return path


def watch(path: str) -> Watch:
    """Notes from now on what the program of this process, rank 0, makes.

    Args:
        path: Path of the journal.
    """
    journal = Journal(path)
    watched = Watch(journal)
    _journals.append(journal)
    _watches.append(watched)
    names = ("mkdir", *MOVING, *LINKING)
    functions = {name: functools.partial(watched.make, name) for name in names}
    _replace(functions, watched.open, watched.os_open)
    return watched


def _replace(
    functions: Mapping[str, Callable], opened: Callable, os_opened: Callable
) -> None:
    builtins.open = io.open = tarfile.bltn_open = opened  # type: ignore
    # Python 3.10 keeps them there.
    accessor = getattr(pathlib, "_NormalAccessor", type("_", (), {}))
    for name, function in {**functions, "open": opened}.items():
        setattr(accessor, name, function)
    for name, function in {**functions, "open": os_opened}.items():
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if getattr(os, name) in able:
                able.add(function)
        setattr(os, name, function)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Surrounds what rank 0 does without the others: they see at once what it makes."""
    for one in _watches:
        one.rests += 1
    try:
        yield
    finally:
        for one in _watches:
            one.rests -= 1


def release() -> None:
    """Leaves files to the program: it has asked for its rank, so it may divide them."""
    _released[0] = True
    end()


def end() -> None:
    """Ends the shadow of this process: it writes what the user sees from now on."""
    for shadow in _installed:
        if not shadow.is_released:
            shadow.release()


def leave_out(folder: str | os.PathLike[str]) -> None:
    """Lets this process write what is in a folder from now on."""
    for shadow in _installed:
        shadow.apart.add(os.path.abspath(folder))


def is_released() -> bool:
    """Whether the program has asked for its rank."""
    return _released[0]


def position() -> int:
    """Returns how far rank 0 has come in its journal; 0 on the others."""
    return sum(journal.position() for journal in _journals)


def settle(position: int) -> None:
    """Notes that the ranks have met: rank 0 has done what this rank has done.

    Args:
        position: Of rank 0 in its journal, then.
    """
    for shadow in _installed:
        shadow.met(position)


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not a forked child
        REAL.rmtree(folder, ignore_errors=True)
