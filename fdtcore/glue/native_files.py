"""Functions of TensorFlow and h5py that take file names and open them in C++.

They follow the rule of Python's own (``fdtcore/shadow_files/shadow.py``): what another
rank than 0 writes goes to its shadow, where it finds it again. ``tf.io.gfile``,
``FileIO`` and whatever else TensorFlow does with files in Python lead through the few
functions that are replaced here.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any

import h5py  # type: ignore[import-untyped]
import tensorflow as tf

from fdtcore.glue.keras_internals import file_io, record_io
from fdtcore.keras_types import FilePath
from fdtcore.shadow_files.rank0_view import Watch
from fdtcore.shadow_files.shadow import Shadow

# They read or look, and their first argument is the name.
_LOOKING = ("FileExists", "IsDirectory", "Stat", "HasAtomicMove", "BufferedInputStream")
_READING_RECORDS = ("RecordIterator", "RandomRecordReader")
# Functions of TensorFlow, and who takes their place below.
_METHODS = {
    "CopyFile": "copy_file",
    "CreateDir": "create_dir",
    "DeleteFile": "delete_file",
    "DeleteRecursively": "delete_recursively",
    "GetChildren": "get_children",
    "GetMatchingFiles": "get_matching_files",
    "RecursivelyCreateDir": "recursively_create_dir",
    "RenameFile": "rename_file",
    "WritableFile": "writable_file",
}
_URL = re.compile(r"\w+://")


def install(view: Shadow | Watch) -> None:
    """Replaces them.

    Args:
        view: How this process sees files.
    """
    functions = _Shadowed(view) if isinstance(view, Shadow) else _Watched(view)
    for name, method in _METHODS.items():
        function, inner = getattr(functions, method, None), getattr(file_io, name)
        if function is not None:
            setattr(file_io, name, functools.partial(function, inner))
    for module, names in ((file_io, _LOOKING), (record_io, _READING_RECORDS)):
        for name in names:
            inner = getattr(module, name)
            setattr(module, name, _elsewhere(inner, view, 0, seen))
    writer = tf.io.TFRecordWriter
    writer.__init__ = _elsewhere(writer.__init__, view, 1, made)
    h5py.File.__init__ = _h5py_file(h5py.File.__init__, view)


def local(view: Shadow | Watch, path: FilePath) -> str | None:
    """Returns the absolute path of a local file that this process may see elsewhere."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(path)
    if not text or _URL.match(text):
        return None
    return view.covered(text)


def seen(view: Shadow | Watch, path: FilePath) -> Any:
    """Returns where this process finds what is at ``path``; as it is where it is."""
    return _as_given(view, path, local(view, path), view.seen)


def made(view: Shadow | Watch, path: FilePath) -> Any:
    """Returns where this process makes what belongs at ``path``."""
    return _as_given(view, path, local(view, path), view.made)


def _as_given(
    view: Shadow | Watch,
    path: FilePath,
    found: str | None,
    move: Callable[[str], str],
) -> Any:
    if found is None:
        return path
    place = view.named(path, found, move(found))
    if place is path:
        return path
    return os.fsencode(place) if isinstance(path, bytes) else place


def _elsewhere(
    inner: Callable, view: Shadow | Watch, argument: int, move: Callable
) -> Any:
    @functools.wraps(inner, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        # TFRecordWriter may get it by its name.
        if "path" in kwargs:
            return inner(*args, **{**kwargs, "path": move(view, kwargs["path"])})
        path = move(view, args[argument])
        return inner(*args[:argument], path, *args[argument + 1 :], **kwargs)

    return call


def _h5py_file(inner: Callable, view: Shadow | Watch) -> Any:
    @functools.wraps(inner)
    def init(
        self: h5py.File, name: FilePath, mode: str = "r", *args: Any, **kwargs: Any
    ) -> None:
        found = local(view, name)
        if found is not None:
            opened = functools.partial(_opened, view, mode=mode)
            name = _as_given(view, name, found, opened)
        inner(self, name, mode, *args, **kwargs)

    return init


def _opened(view: Shadow | Watch, path: str, *, mode: str) -> str:
    """Where to open a file in one of the modes of h5py or of ``FileIO``."""
    if mode == "r":
        return view.seen(path)
    if isinstance(view, Watch):
        return view.made(path)
    empty = mode.startswith("w")
    return view.writable(path, empty=empty, exists=mode.startswith("r"))


class _Watched:
    """Those functions on rank 0; each is called with the real one."""

    def __init__(self, view: Watch):
        self._view = view

    def create_dir(self, inner: Callable, path: FilePath) -> None:
        self._note(path)
        inner(path)

    def recursively_create_dir(self, inner: Callable, path: FilePath) -> None:
        found = local(self._view, path)
        missing = []
        while found is not None and not os.path.lexists(found):
            missing.append(found)
            found = os.path.dirname(found)
        for folder in reversed(missing):
            self._view.note(folder)
        inner(path)

    def copy_file(
        self, inner: Callable, src: FilePath, dst: FilePath, overwrite: bool
    ) -> None:
        self._note(dst)
        inner(src, dst, overwrite)

    def rename_file(
        self, inner: Callable, src: FilePath, dst: FilePath, overwrite: bool
    ) -> None:
        self._note(dst)
        inner(src, dst, overwrite)

    def writable_file(self, inner: Callable, path: FilePath, mode: str) -> Any:
        self._note(path)
        return inner(path, mode)

    def _note(self, path: FilePath) -> None:
        found = local(self._view, path)
        if found is not None:
            self._view.note(found)


class _Shadowed:
    """Those functions on another rank; each is called with the real one.

    What goes wrong is left to the real function, whose error is TensorFlow's.
    """

    def __init__(self, view: Shadow):
        self._view = view

    def create_dir(self, inner: Callable, path: FilePath) -> None:
        found = local(self._view, path)
        if found is not None and os.path.isdir(os.path.dirname(found)):
            path = self._view.made(found)
        inner(path)

    def recursively_create_dir(self, inner: Callable, path: FilePath) -> None:
        inner(made(self._view, path))

    def delete_file(self, inner: Callable, path: FilePath) -> None:
        self._remove("remove", inner, path)

    def delete_recursively(self, inner: Callable, path: FilePath) -> None:
        self._remove("rmtree", inner, path)

    def _remove(self, name: str, inner: Callable, path: FilePath) -> None:
        found = local(self._view, path)
        if found is None or not os.path.lexists(found):
            inner(seen(self._view, path))
        else:
            self._view.remove(name, found)

    def copy_file(
        self, inner: Callable, src: FilePath, dst: FilePath, overwrite: bool
    ) -> None:
        target = local(self._view, dst)
        if target is None or (os.path.exists(target) and not overwrite):
            inner(seen(self._view, src), seen(self._view, dst), overwrite)
        else:
            inner(seen(self._view, src), self._view.made(target), True)

    def rename_file(
        self, inner: Callable, src: FilePath, dst: FilePath, overwrite: bool
    ) -> None:
        source, target = local(self._view, src), local(self._view, dst)
        is_taken = os.path.exists(os.fsdecode(dst)) and not overwrite
        if source is None or target is None or is_taken or not os.path.exists(source):
            inner(seen(self._view, src), seen(self._view, dst), overwrite)
        else:
            self._view.move("replace", source, target)

    def writable_file(self, inner: Callable, path: FilePath, mode: str) -> Any:
        found = local(self._view, path)
        if found is not None:
            path = os.fsencode(_opened(self._view, found, mode=os.fsdecode(mode)))
        return inner(path, mode)

    def get_children(self, inner: Callable, path: FilePath) -> list[str]:
        found = local(self._view, path)
        if found is None or not os.path.isdir(found):
            return inner(seen(self._view, path))
        return os.listdir(found)

    def get_matching_files(self, inner: Callable, pattern: str) -> list[str]:
        found = local(self._view, pattern)
        if found is None:
            return inner(pattern)
        names = [p for p in inner(pattern) if os.path.lexists(p)]
        known = set(map(os.path.abspath, names))
        for path in inner(os.fsencode(self._view.place(found))):
            path = path.removeprefix(self._view.root)
            if path not in known:
                is_relative = not os.path.isabs(os.fsdecode(pattern))
                names.append(os.path.relpath(path) if is_relative else path)
        return names
