"""The files of ``Dataset.cache`` and ``Dataset.snapshot``, on each rank.

Every rank reads the user's whole pipeline, so each writes a whole cache, under a name
of its own. Rank 0's is the user's, once it is whole: until then TensorFlow keeps a
lock file beside it, which after a crash would stop any later program.
"""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from fdtcore.glue import binding, native_files
from fdtcore.keras_types import FilePath
from fdtcore.shadow_files.rank0_view import Watch
from fdtcore.shadow_files.shadow import Shadow


def cache_names(view: Shadow | Watch) -> Callable[[Any], Any]:
    """Returns what turns the name of a cache into that on this rank."""
    if isinstance(view, Shadow):
        return lambda given: _of_others(view, given, _is_cache)
    drafts = Drafts(view)
    binding.context().drafts.append(drafts)
    atexit.register(drafts.end)
    previous = sys.excepthook

    def hook(*error: Any) -> None:
        drafts.end()  # the process may end there, without more
        previous(*error)

    sys.excepthook = hook
    return drafts.name


def snapshot_names(view: Shadow | Watch) -> Callable[[Any], Any]:
    """Returns what turns the name of a snapshot into that on this rank."""
    if isinstance(view, Watch):
        return lambda given: given
    return lambda given: _of_others(view, given, _is_snapshot)


def publish() -> None:
    """Gives caches of rank 0 that are whole the names that the user gave them."""
    for drafts in binding.context().drafts:
        drafts.publish()


def _of_others(view: Shadow, given: FilePath, is_kept: Callable[[str], bool]) -> Any:
    path = native_files.local(view, given)
    if path is None or is_kept(path):
        return given  # what an earlier run has kept is read by all
    return native_files.made(view, given)


def _is_cache(path: str) -> bool:
    return os.path.exists(f"{path}.index")


def _is_snapshot(path: str) -> bool:
    return bool(glob.glob(os.path.join(glob.escape(path), "*", "snapshot.metadata")))


class Drafts:
    """Rank 0's caches, each beside its place until it is whole.

    Args:
        view: How this process sees files.
    """

    def __init__(self, view: Watch):
        self._view = view
        self._pid = os.getpid()
        self._places: dict[str, str] = {}  # where a cache belongs -> its draft

    def name(self, given: FilePath) -> Any:
        """Returns the name under which TensorFlow is to make a cache, or to read it."""
        path = native_files.local(self._view, given)
        if path is None:
            return given
        self.publish()
        if _is_cache(path):
            return given
        if path in self._places and _is_cache(self._places[path]):
            self._remove(path)  # the user has removed what it was published as
        folder, base = os.path.split(path)
        # The process is alive, so nobody else's lock stands beside that name.
        draft = os.path.join(folder, f".{self._pid}-{base}")
        return self._places.setdefault(path, draft)

    def publish(self) -> None:
        """Gives those that are whole their names; data sets go on with the drafts."""
        for path, draft in self._places.items():
            if _is_cache(draft) and not _is_cache(path):
                # The index comes last: with it a cache counts as whole.
                for file in sorted(_files(draft), key=lambda f: f.endswith(".index")):
                    _link(file, path + file.removeprefix(draft))

    def end(self) -> None:
        """Publishes what is whole, and removes the drafts."""
        if os.getpid() == self._pid:  # not a forked child
            self.publish()
            for path in list(self._places):
                self._remove(path)

    def _remove(self, path: str) -> None:
        for file in _files(self._places.pop(path), "*"):
            os.remove(file)


def _files(prefix: str, ends: str = ".*") -> list[str]:
    return glob.glob(glob.escape(prefix) + ends)


def _link(file: str, name: str) -> None:
    try:
        os.link(file, name)
    except OSError:  # file systems without links
        shutil.copyfile(file, name)
