"""State of rules as bytes: for checkpoints and for what travels. Never pickled.

Bytes of a message: a description in JSON with a vector behind it, and lists.

Nothing here is unpickled: JSON and plain numbers are all that crosses a network.

What workers say of a group of variables when they open it.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

import ml_dtypes  # noqa: F401  names its types to numpy
import numpy as np

from nfdt.rules.corrections import Vector

# What numpy raises for bytes that are no archive, or not of this kind.
_BROKEN = (KeyError, EOFError, OSError, AttributeError, TypeError, BadZipFile)


def dump(value: Any) -> bytes:
    """Returns nested mappings, sequences, numbers, text and arrays as one archive."""
    arrays: dict[str, Any] = {}
    text = json.dumps(_without_arrays(value, arrays))
    buffer = io.BytesIO()
    np.savez(buffer, structure=np.frombuffer(text.encode(), np.uint8), **arrays)
    return buffer.getvalue()


def load(data: bytes) -> Any:
    """Returns what :func:`dump` was given, sequences as lists.

    Raises:
        ValueError: It is no such archive.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            structure = json.loads(archive["structure"].tobytes())
            return _with_arrays(structure, archive)
    except _BROKEN as error:
        raise ValueError(f"a state must be what dump has made ({error}).") from error


def _without_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        # Bytes: numpy's archives do not know every type, bfloat16 for one.
        arrays[name] = np.frombuffer(value.tobytes(), np.uint8)
        return {"__array__": name, "dtype": value.dtype.name, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): _without_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, archive: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            array = archive[value["__array__"]].view(np.dtype(value["dtype"]))
            return array.reshape(value["shape"])
        return {k: _with_arrays(v, archive) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, archive) for item in value]
    return value


_LENGTH = struct.Struct("<q")


def pack(description: Mapping[str, Any], vector: Vector | None = None) -> bytes:
    """Packs a description and, perhaps, a vector."""
    text = json.dumps(description).encode()
    data = b"" if vector is None else vector.tobytes()
    return _LENGTH.pack(len(text)) + text + data


def unpack(data: Any) -> tuple[dict[str, Any], memoryview]:
    """Returns the description, and the bytes behind it.

    Raises:
        ValueError: It is not what :func:`pack` makes.
    """
    text, rest = _first(memoryview(data))
    description = json.loads(bytes(text))
    if not isinstance(description, dict):
        raise ValueError("a description must be a mapping.")
    return description, rest


def pack_list(items: Sequence[bytes]) -> bytes:
    """Packs byte strings, each behind its length."""
    return b"".join(_LENGTH.pack(len(item)) + item for item in items)


def unpack_list(data: Any) -> list[bytes]:
    """Returns the byte strings of :func:`pack_list`.

    Raises:
        ValueError: It is not what that makes.
    """
    view, items = memoryview(data), []
    while view:
        item, view = _first(view)
        items.append(bytes(item))
    return items


def _first(view: memoryview) -> tuple[memoryview, memoryview]:
    """Returns what stands behind its length, and the rest."""
    if len(view) < _LENGTH.size:
        raise ValueError(f"a length has 8 bytes. Received: {len(view)}.")
    (length,) = _LENGTH.unpack(view[: _LENGTH.size])
    view = view[_LENGTH.size :]
    if not 0 <= length <= len(view):
        raise ValueError(
            f"a length must be that of what follows. Received: {length}, before "
            f"{len(view)} bytes."
        )
    return view[:length], view[length:]


def difference(
    one: Mapping[str, Any], other: Mapping[str, Any], *, rates: bool = True
) -> tuple[str, str] | None:
    """Names the first difference between two descriptions of a group, if any.

    Args:
        one: What was said first.
        other: What is said now.
        rates: Whether learning rates count that are numbers. Among workers they do
            not: a callback may have changed one before another worker has begun.
    """
    if one["algorithm"] != other["algorithm"]:
        return f"algorithm {one['algorithm']}", str(other["algorithm"])
    mine, theirs = one["variables"], other["variables"]
    for index in range(max(len(mine), len(theirs))):
        pair = [str(v[index]) if index < len(v) else "nothing" for v in (mine, theirs)]
        if pair[0] != pair[1]:
            return pair[0], pair[1]
    mine, theirs = (d["optimizer"] for d in (one, other))
    if not rates:
        mine, theirs = _without_rate(mine), _without_rate(theirs)
    if mine != theirs:
        return _optimizers(mine, theirs)
    mine, theirs = one.get("undecayed", []), other.get("undecayed", [])
    if mine != theirs:
        return f"no weight decay of {mine}", f"of {theirs}"
    return None


def _without_rate(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(optimizer["config"])
    if isinstance(values.get("learning_rate"), int | float):
        del values["learning_rate"]
    return {**optimizer, "config": values}


def _optimizers(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Names two optimizers: by their classes, or by the first setting that differs."""
    if one.get("class_name") != other.get("class_name"):
        return f"optimizer {one.get('class_name')}", str(other.get("class_name"))
    mine, theirs = one.get("config") or {}, other.get("config") or {}
    for key in (*mine, *theirs):
        if mine.get(key) != theirs.get(key):
            name = f"optimizer {one.get('class_name')} with {key}"
            return f"{name}={mine.get(key)!r}", f"{key}={theirs.get(key)!r}"
    return f"optimizer {one.get('class_name')}", "another of that name"
