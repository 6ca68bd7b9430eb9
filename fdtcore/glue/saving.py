"""Saving on rank 0: each file is written once, and completely or not at all."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras

from fdtcore import atomic_files
from fdtcore.engine import Collectives
from fdtcore.glue import binding, file_caches, keras_internals
from fdtcore.keras_types import Callback, FilePath, Model
from fdtcore.shadow_files import patches


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keeps saving and loading inside from waiting for the other ranks."""
    context = binding.context()
    with context.is_saving_alone.given(True), patches.apart():
        yield


def is_alone() -> bool:
    """Whether what runs now concerns this rank only."""
    return binding.context().is_saving_alone.now


def together() -> Collectives | None:
    """Returns the collectives where every rank makes the same call.

    A script that knows nothing of ranks calls everything on all of them.
    """
    bound = binding.current()
    if bound is None or not bound.everything or patches.is_released():
        return None
    if bound.context.is_saving_alone.now or bound.context.is_writing.now:
        return None
    return bound.engine.collectives if bound.engine.process.size > 1 else None


def patch() -> None:
    """Makes what writes a bound model write on rank 0 only."""
    for name in ("save", "save_weights", "export"):
        inner = getattr(keras.Model, name)
        setattr(keras.Model, name, _once(inner))
    archive = keras.export.ExportArchive
    archive.write_out = _once(archive.write_out)
    if keras_internals.ORBAX_SAVE:
        keras_internals.ORBAX_SAVE.wrap(_by_rank_zero)
    for name in ("save_model", "save_weights"):
        replace_everywhere(getattr(keras.saving, name), _once)


def replace_everywhere(inner: Callable, wrapped: Callable) -> None:
    """Replaces a function of a package in every module that gives it a name."""
    function, package = wrapped(inner), inner.__module__.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package:
            for key, value in list(vars(module).items()):
                if value is inner:
                    setattr(module, key, function)


def _once(inner: Callable) -> Callable:
    signature = inspect.signature(inner)
    place = list(signature.parameters)[1]

    @functools.wraps(inner)
    def write(model: Model, *args: Any, **kwargs: Any) -> Any:
        engine, shared = binding.engine_of_model(model), together()
        if engine is None or binding.context().is_writing.now:
            return inner(model, *args, **kwargs)
        given = signature.bind(model, *args, **kwargs).arguments
        filepath = given[place]

        def save(path: FilePath) -> Any:
            call = signature.bind(model, *args, **kwargs)
            call.arguments[place] = path
            return inner(*call.args, **call.kwargs)

        if shared is not None and isinstance(model, keras.Model):
            engine.strategy.settle(model)
        overwrite = given.get("overwrite", True)
        with once(filepath) as writes:
            return (
                atomic_files.whole(save, filepath, overwrite=overwrite)
                if writes
                else None
            )

    return write


def _by_rank_zero(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def save(callback: Callback, *args: Any, **kwargs: Any) -> Any:
        engine = binding.engine_of_model(callback.model)
        writes = engine is None or engine.process.rank == 0
        return inner(callback, *args, **kwargs) if writes else None

    return save


@contextlib.contextmanager
def once(filepath: FilePath) -> Iterator[bool]:
    """Surrounds what writes to ``filepath`` on rank 0 only.

    Yields:
        Whether this rank writes.
    """
    collectives, bound = together(), binding.current()
    if collectives is not None:
        first = collectives.broadcast_text(str(filepath))
        writes = collectives.process.rank == 0 or _own(filepath, first)
    else:
        writes = bound is None or bound.engine.process.rank == 0
    with binding.context().is_writing.given(True):
        try:
            yield writes
        except Exception as error:
            if collectives is not None:
                _meet(collectives, error)
            raise
        else:
            if collectives is not None:
                _meet(collectives, None)


def meet(collectives: Collectives, told: str = "") -> str:
    """Waits until rank 0 has come here, too: what it has made is there for all.

    Args:
        collectives: Those of the ranks.
        told: What rank 0 tells the others.

    Returns:
        What rank 0 has told.
    """
    file_caches.publish()
    mine = json.dumps([told, patches.position()])
    told, position = json.loads(collectives.broadcast_text(mine))
    patches.settle(position)
    return told


def _meet(collectives: Collectives, failure: Exception | None) -> None:
    """Waits until rank 0 has written; fails on every rank where it could not.

    A script may catch the error and go on, on all ranks or on none.
    """
    own = "" if failure is None else f"{type(failure).__name__}: {failure}"
    kind, _, text = meet(collectives, own).partition(": ")
    if kind and failure is None:
        known = {"TypeError": TypeError, "ValueError": ValueError}
        raise known.get(kind, OSError)(f"rank 0 could not write: {text}")


def _own(filepath: FilePath, first: str) -> bool:
    """Whether a rank has made a place of its own, where rank 0 writes to ``first``.

    A temporary folder has another name on every rank, and an open file is the rank's;
    names that differ for another reason, such as the time of day, are written once.
    """
    if not isinstance(filepath, str | os.PathLike):
        return True
    text = os.path.realpath(filepath)
    temporary = text.startswith(os.path.realpath(tempfile.gettempdir()) + os.sep)
    return temporary and text != os.path.realpath(first)
