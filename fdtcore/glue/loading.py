"""Loading of models and weights: rank 0's, on every rank.

A file may exist on rank 0 only: in its temporary folder, or because another rank is on
another machine. So rank 0 sends what it has, as bytes.
"""

from __future__ import annotations

import functools
import glob
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO

import keras

from fdtcore.engine import Collectives
from fdtcore.glue import saving
from fdtcore.keras_types import FilePath

_CHUNK_BYTES = 1 << 26


def patch() -> None:
    """Makes what reads a model in a script read rank 0's file."""
    load_model = _of_rank_zero(keras.saving.load_model, argument=0)
    saving.replace_everywhere(keras.saving.load_model, lambda _: load_model)
    load_weights = _of_rank_zero(keras.saving.load_weights, argument=1)
    saving.replace_everywhere(keras.saving.load_weights, lambda _: load_weights)
    model = keras.Model
    model.load_weights = _of_rank_zero(model.load_weights, argument=1)


def _of_rank_zero(inner: Callable, *, argument: int) -> Callable:
    @functools.wraps(inner)
    def load(*args: Any, **kwargs: Any) -> Any:
        collectives = saving.together()
        given = args[argument] if len(args) > argument else kwargs.get("filepath")
        if collectives is None or not isinstance(given, str | os.PathLike):
            return inner(*args, **kwargs)
        with tempfile.TemporaryDirectory() as folder:
            path = received(collectives, given, [given, *_shards(given)], folder)
            with saving.alone():  # it calls others of these
                if "filepath" in kwargs:
                    return inner(*args, **{**kwargs, "filepath": path})
                before, after = args[:argument], args[argument + 1 :]
                return inner(*before, path, *after, **kwargs)

    return load


def _shards(path: FilePath) -> list[pathlib.Path]:
    """The files beside one that names them, of weights that were saved in several."""
    name = pathlib.Path(path).name
    if not name.endswith(".weights.json"):
        return []
    stem = glob.escape(name.removesuffix(".weights.json"))
    return sorted(pathlib.Path(path).parent.glob(f"{stem}*.weights.h5"))


def received(
    collectives: Collectives, path: FilePath, files: list[FilePath], folder: str
) -> FilePath:
    """Gives every rank the files that rank 0 has.

    Args:
        collectives: Those of the ranks.
        path: What names the files: one of them, or what their names begin with.
        files: The files on this rank; only rank 0's matter.
        folder: Where this rank may put copies of them.

    Returns:
        ``path`` where rank 0 has no such files, so that all ranks fail alike, and on
        rank 0; else what names the copies, as ``path`` does.
    """
    found = [pathlib.Path(f) for f in files if os.path.isfile(f)]
    sizes = [[f.name, f.stat().st_size] for f in found]
    text = collectives.broadcast_text(json.dumps([pathlib.Path(path).name, sizes]))
    name, sizes = json.loads(text)
    for i, (file, size) in enumerate(sizes):
        if collectives.process.rank == 0:
            with found[i].open("rb") as stream:
                _send(collectives, stream, size)
        else:
            with pathlib.Path(folder, pathlib.Path(file).name).open("wb") as stream:
                _receive(collectives, stream, size)
    if collectives.process.rank == 0 or not sizes:
        return path
    return type(path)(os.path.join(folder, name))


def _send(collectives: Collectives, stream: BinaryIO, size: int) -> None:
    for start in range(0, size, _CHUNK_BYTES):
        collectives.broadcast_bytes(stream.read(min(_CHUNK_BYTES, size - start)))


def _receive(collectives: Collectives, stream: BinaryIO, size: int) -> None:
    for _ in range(0, size, _CHUNK_BYTES):
        stream.write(collectives.broadcast_bytes(b""))
