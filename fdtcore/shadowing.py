"""Gives a process its shadow: replaces Python's functions that name files."""

from __future__ import annotations

import atexit
import builtins
import functools
import io
import os
import pathlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from fdtcore.shadow import (
    LINKING,
    LOOKING,
    MOVING,
    REAL,
    REMOVING,
    TEMPORARY,
    Shadow,
)

_installed: list[Shadow] = []
_released = [False]


def install(apart: Iterable[str] = ()) -> Shadow:
    """Gives this process a shadow, which is removed when the process ends in order.

    Args:
        apart: Folders in which nothing is shadowed.
    """
    folder = tempfile.mkdtemp(prefix="rank-files-")
    shadow = Shadow(folder, apart)
    _installed.append(shadow)
    atexit.register(_remove, folder, os.getpid())
    tempfile.tempdir = folder
    for name in TEMPORARY:
        setattr(tempfile, name, functools.partial(shadow.temporary, name))
    shutil.rmtree = functools.partial(shadow.remove, "rmtree")  # type: ignore
    builtins.open = io.open = tarfile.bltn_open = shadow.open  # type: ignore
    functions: dict[str, Callable[..., Any]] = {"mkdir": shadow.mkdir}
    for method, names in (
        (shadow.look, LOOKING),
        (shadow.remove, REMOVING),
        (shadow.move, MOVING),
        (shadow.link, LINKING),
    ):
        functions |= {name: functools.partial(method, name) for name in names}
    # Python 3.10 keeps them there.
    accessor = getattr(pathlib, "_NormalAccessor", type("_", (), {}))
    for name, function in {**functions, "open": shadow.open}.items():
        setattr(accessor, name, function)
    for name, function in {**functions, "open": shadow.os_open}.items():
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if getattr(os, name) in able:
                able.add(function)
        setattr(os, name, function)
    return shadow


def release() -> None:
    """Leaves files to the program: it has asked for its rank, so it may divide them."""
    _released[0] = True
    end()


def end() -> None:
    """Ends the shadow of this process: it writes what the user sees from now on."""
    for shadow in _installed:
        if not shadow.is_released:
            shadow.release()


def is_released() -> bool:
    """Whether the program has asked for its rank."""
    return _released[0]


def settle() -> None:
    """Notes that the ranks have met: rank 0 has removed what this rank removed."""
    for shadow in _installed:
        shadow.removed.clear()


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not a forked child
        REAL.rmtree(folder, ignore_errors=True)
