"""Rank 0's view of the file system: the real one, with a record of its new files."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from fdtcore.shadow_files.journal import Journal
from fdtcore.shadow_files.shadow import REAL, FileName, PathName


class Watch:
    """Notes what a program makes, before it makes it.

    Args:
        journal: Where the other ranks read it.
    """

    def __init__(self, journal: Journal):
        self._journal = journal
        self.rests = 0  # above 0 where rank 0 acts without the others

    def note(self, file: FileName) -> None:
        """Notes a file or folder that is about to be made."""
        if self.rests or isinstance(file, int):
            return
        with contextlib.suppress(TypeError, ValueError):
            path = os.path.abspath(os.fsdecode(file))
            if not os.path.lexists(path):
                self._journal.note(path)

    def open(self, file: FileName, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """``open``."""
        if isinstance(mode, str) and set(mode) & set("wax"):
            self.note(file)
        return REAL.open(file, mode, *args, **kwargs)

    def os_open(self, file: PathName, flags: int, *args: Any, **kwargs: Any) -> int:
        """``os.open``."""
        if flags & os.O_CREAT and kwargs.get("dir_fd") is None:
            self.note(file)
        return REAL.os_open(file, flags, *args, **kwargs)

    def make(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A function of ``os`` whose last path is made."""
        paths = [kwargs[key] for key in ("path", "dst") if key in kwargs]
        given = args[: 1 if name == "mkdir" else 2]
        if not any(key.endswith("dir_fd") for key in kwargs):
            self.note((paths or given)[-1])
        return getattr(REAL, name)(*args, **kwargs)

    def covered(self, file: str) -> str | None:
        """Returns the absolute path of a file."""
        return os.path.abspath(file)

    def seen(self, path: str) -> str:
        """Returns where to find what belongs at an absolute path: there."""
        return path

    def made(self, path: str) -> str:
        """Returns where to make what belongs at an absolute path: there."""
        self.note(path)
        return path

    def named(self, file: FileName, path: str, found: str) -> Any:
        """Returns what names a file that was found: what the program did."""
        del path, found
        return file
