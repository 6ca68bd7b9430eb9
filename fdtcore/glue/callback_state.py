"""The state of callbacks: their plain attributes, kept and given back.

``EarlyStopping``, ``ReduceLROnPlateau`` and others of Keras forget theirs when a
``fit`` begins, so it is given back after that. What a callback of the user's holds
beyond plain values is named, once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from fdtcore.glue.plain_values import NotPlain, Packer, unpack
from fdtcore.keras_types import Callback

# Keras gives them to each fit; and what stands for files that are open.
_LEFT_OUT = {"_model", "model", "params", "_params", "validation_data"}
_FILES = {"csv_file", "writer", "append_header"}
_UNKEPT = (keras.callbacks.ProgbarLogger, keras.callbacks.History)


def pack(
    callbacks: Sequence[Callback], packer: Packer, say: Callable[[str], None]
) -> list[Any]:
    """Returns the state of callbacks, in their order.

    Args:
        callbacks: Those that the user gave to ``fit``.
        packer: Turns values into JSON and arrays.
        say: Is told what cannot be kept.
    """
    return [_packed(callback, packer, say) for callback in callbacks]


def _packed(callback: Callback, packer: Packer, say: Callable[[str], None]) -> Any:
    kind = type(callback)
    found: dict[str, Any] = {}
    if not isinstance(callback, _UNKEPT):
        for name, value in vars(callback).items():
            if name in _LEFT_OUT or name in _FILES:
                continue
            try:
                found[name] = packer.pack(value)
            except NotPlain as error:
                if not (callable(value) or kind.__module__.startswith("keras.")):
                    say(
                        f"{kind.__name__}.{name} ({error}) is not kept in snapshots: "
                        "a callback keeps numbers, texts, arrays, lists and dicts."
                    )
    size = _size_of_log(callback)
    return {"class": kind.__name__, "values": found, "log_bytes": size}


def restore(callbacks: Sequence[Callback | None], kept: list[Any], arrays: Any) -> None:
    """Gives callbacks the state that they had.

    Args:
        callbacks: Those that the user gave to ``fit``, in the same order; None in place
            of one that begins anew.
        kept: What :func:`pack` has returned.
        arrays: The arrays beside it, by name.
    """
    for callback, one in zip(callbacks, kept, strict=False):
        if type(callback).__name__ == one["class"]:
            held = vars(callback)
            for name, value in one["values"].items():
                held[name] = unpack(value, arrays, held.get(name))


def difference(callbacks: Sequence[Callback], kept: list[Any]) -> str:
    """Names the first callback that is not the one whose state was kept."""
    here = [type(callback).__name__ for callback in callbacks]
    there = [one["class"] for one in kept]
    return "" if here == there else f"callbacks {there} there, {here} here"


def continue_logs(callbacks: Sequence[Callback], kept: list[Any]) -> None:
    """Makes what logs to a file go on behind what had been written.

    To be called before ``fit`` begins, which opens the files. Rows that the earlier
    run wrote after the snapshot are cut off: they are written again.
    """
    for callback, one in zip(callbacks, kept, strict=False):
        size = one["log_bytes"]
        if isinstance(callback, keras.callbacks.CSVLogger) and size:
            with contextlib.suppress(OSError):
                if os.path.getsize(callback.filename) >= size:
                    os.truncate(callback.filename, size)
                    callback.append = True


def _size_of_log(callback: Callback) -> int:
    if isinstance(callback, keras.callbacks.CSVLogger):
        with contextlib.suppress(OSError):
            return os.path.getsize(callback.filename)
    return 0
