"""TensorFlow's own checkpoints, saved models and summaries, in scripts."""

from __future__ import annotations

import functools
import glob
import inspect
import os
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fdtcore.glue import keras_internals, loading, saving
from fdtcore.keras_types import FilePath
from fdtcore.process import Process


def install(process: Process) -> None:
    """Makes a script write them on rank 0 only, and read rank 0's.

    Args:
        process: This process: its rank, the number of ranks, its host.
    """
    checkpoint, manager = tf.train.Checkpoint, tf.train.CheckpointManager
    # Every way to write or read one leads through these two.
    keras_internals.CHECKPOINT_WRITE.wrap(_once)
    checkpoint.read = _of_rank_zero(checkpoint.read)
    manager.save = _known_to_all(manager.save)
    saving.replace_everywhere(tf.train.latest_checkpoint, _rank_zeros)
    saving.replace_everywhere(tf.saved_model.save, _once)
    if process.rank:
        saving.replace_everywhere(tf.summary.create_file_writer, lambda _: _no_writer)


def _once(inner: Callable) -> Callable:
    place = list(inspect.signature(inner).parameters)[1]

    @functools.wraps(inner)
    def write(written: object, *args: Any, **kwargs: Any) -> Any:
        path = args[0] if args else kwargs[place]
        with saving.once(path) as writes:
            return inner(written, *args, **kwargs) if writes else path

    return write


def _of_rank_zero(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def read(
        self: tf.train.Checkpoint,
        save_path: FilePath,
        options: tf.train.CheckpointOptions | None = None,
    ) -> Any:
        collectives = saving.together()
        if collectives is None:
            return inner(self, save_path, options)
        start = glob.escape(os.fspath(save_path))
        files = [f for end in ("index", "data-*") for f in glob.glob(f"{start}.{end}")]
        # Kept: variables that do not exist yet are read when they are made.
        folder = tempfile.mkdtemp()
        path = loading.received(collectives, save_path, files, folder)
        return inner(self, path, options)

    return read


def _known_to_all(inner: Callable) -> Callable:
    """Tells the managers of ranks that do not write what rank 0's has written."""

    @functools.wraps(inner)
    def save(self: tf.train.CheckpointManager, *args: Any, **kwargs: Any) -> Any:
        path = inner(self, *args, **kwargs)
        if path is not None:
            keras_internals.note_checkpoint(self, path)
        return path

    return save


def _rank_zeros(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def latest_checkpoint(*args: Any, **kwargs: Any) -> str | None:
        path = inner(*args, **kwargs)
        collectives = saving.together()
        if collectives is None:
            return path
        return collectives.broadcast_text(path or "") or None

    return latest_checkpoint


def _no_writer(*args: Any, **kwargs: Any) -> Any:
    del args, kwargs
    return tf.summary.create_noop_writer()
