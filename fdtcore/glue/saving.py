"""Files written once, and whole or not at all."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

from keras.src.models import model as keras_model

from fdtcore.glue import binding, metrics


def patch() -> None:
    """Makes the methods that write a bound model write on rank 0 only."""
    for name in ("save", "save_weights", "export"):
        inner = getattr(keras_model.Model, name)
        setattr(keras_model.Model, name, _once(inner))


def _once(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def write(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None:
            return inner(self, filepath, *args, **kwargs)
        together = binding.current().everything
        if together:
            # A script that knows nothing of ranks calls this on all of them.
            engine.average(metrics.moving_statistics(self))
        result = None
        if engine.process.rank == 0:
            result = whole(
                lambda path: inner(self, path, *args, **kwargs),
                filepath,
                overwrite=kwargs.get("overwrite", True),
            )
        if together:
            engine.barrier()
        return result

    return write


def whole(write: Callable, filepath: Any, *, overwrite: bool = True) -> Any:
    """Writes a file beside its place and moves it there when it is complete.

    Args:
        write: Called with the path to write to.
        filepath: Where the file belongs. Only a single local file is moved; folders
            and other file systems are written in place.
        overwrite: Whether an existing file may be replaced; if not, ``write`` is given
            the path itself and asks.

    Returns:
        What ``write`` returns.
    """
    text = str(filepath)
    single = text.endswith((".keras", ".h5")) and "://" not in text
    if not single or not (overwrite or not os.path.exists(text)):
        return write(filepath)
    place = pathlib.Path(text)
    # The suffix stays last: Keras chooses the format by it.
    beside = place.with_name(f".{os.getpid()}-{place.name}")
    try:
        result = write(beside if isinstance(filepath, pathlib.Path) else str(beside))
        os.replace(beside, place)
    finally:
        beside.unlink(missing_ok=True)
    return result
