"""Atomic writes: a file is complete at its path, or unchanged."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any


def whole(write: Callable, filepath: object, *, overwrite: bool = True) -> Any:
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
