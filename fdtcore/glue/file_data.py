"""Data sets over files, created when rank 0 has written what they read.

TensorFlow reads and writes their files in C++, on every rank. What reads waits, where
it is made, until rank 0 has come there, and reads rank 0's files; what writes goes to
a place of its own on each rank. Every way to make one leads through the few operations
that are named here.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fdtcore.glue import calls, file_caches, keras_internals, native_files, saving
from fdtcore.glue.keras_internals import (
    dataset_ops,
    io_ops,
    lookup_ops,
    more_dataset_ops,
)
from fdtcore.keras_types import FilePath, Tensor
from fdtcore.shadow_files.rank0_view import Watch
from fdtcore.shadow_files.shadow import Shadow

# They read in C++, at once or later.
_READING = (
    dataset_ops.text_line_dataset,
    dataset_ops.tf_record_dataset,
    dataset_ops.tf_record_dataset_v2,
    dataset_ops.fixed_length_record_dataset,
    dataset_ops.fixed_length_record_dataset_v2,
    more_dataset_ops.csv_dataset,
    more_dataset_ops.csv_dataset_v2,
    more_dataset_ops.load_dataset,
    io_ops.matching_files,
    lookup_ops.initialize_table_from_text_file_v2,
    # They look for files in Python first.
    keras_internals.load_dataset,
    tf.data.experimental.make_csv_dataset,
    keras.utils.image_dataset_from_directory,
    keras.utils.text_dataset_from_directory,
    keras.utils.audio_dataset_from_directory,
)
# They write; the argument that names where.
_WRITING = (
    (more_dataset_ops.save_dataset, "path"),
    (more_dataset_ops.save_dataset_v2, "path"),
    (io_ops.write_file, "filename"),
    (tf.profiler.experimental.start, "logdir"),
)
_CACHES = (dataset_ops.cache_dataset, dataset_ops.cache_dataset_v2)


def install(view: Shadow | Watch) -> None:
    """Replaces these operations.

    Args:
        view: How this process sees files.
    """
    for inner in _READING:
        saving.replace_everywhere(inner, _waiting)
    reading = functools.partial(_reading, view)
    saving.replace_everywhere(io_ops.read_file, reading)
    made = functools.partial(native_files.made, view)
    for inner, argument in _WRITING:
        saving.replace_everywhere(inner, functools.partial(_named, argument, made))
    names = file_caches.cache_names(view)
    for inner in _CACHES:
        saving.replace_everywhere(inner, functools.partial(_named, "filename", names))
    names = file_caches.snapshot_names(view)
    snapshot = functools.partial(_named, "path", names)
    saving.replace_everywhere(more_dataset_ops.snapshot_dataset_v2, snapshot)


def _waiting(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def make(*args: Any, **kwargs: Any) -> Any:
        _meet(inner.__name__)
        return inner(*args, **kwargs)

    return make


def _meet(what: str) -> None:
    """Waits until rank 0 has come here, in what every rank's program does."""
    collectives = saving.together()
    is_main = threading.current_thread() is threading.main_thread()
    if collectives is None or not is_main or calls.is_running():
        return
    with tf.init_scope(), collectives.joining(f"reading of files by {what}"):
        saving.meet(collectives)


def _reading(view: Shadow | Watch, inner: Callable) -> Callable:
    """A file that is read at once is this rank's; one that will be read is rank 0's."""

    @functools.wraps(inner)
    def read_file(filename: FilePath | Tensor, *args: Any, **kwargs: Any) -> Any:
        path = _path(filename)
        if path is None:
            _meet("tf.io.read_file")
        else:
            filename = native_files.seen(view, path)
        return inner(filename, *args, **kwargs)

    return read_file


def _named(argument: str, move: Callable[[Any], Any], inner: Callable) -> Callable:
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def write(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        path = _path(call.arguments[argument])
        if path is not None:
            call.arguments[argument] = move(path)
        return inner(*call.args, **call.kwargs)

    return write


def _path(name: FilePath | Tensor) -> Any:
    """A name of a file as text or bytes, where it is known now."""
    if isinstance(name, str | bytes | os.PathLike):
        return name
    value = tf.get_static_value(name) if tf.is_tensor(name) else None
    return value if isinstance(value, bytes) else None
