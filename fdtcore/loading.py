"""How a process imports TensorFlow in less time."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Lets the garbage collector rest while large packages are imported.

    None of the half a million objects that TensorFlow brings is garbage; to look
    through them again and again takes a quarter of a process's start.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # they stay as long as the process
        if was_on:
            gc.enable()
