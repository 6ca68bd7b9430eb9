"""Bytes of messages and of checkpoints: JSON and plain numbers, never pickled.

A description in JSON with a vector behind it, lists of byte strings, and archives of
nested values with arrays in them.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import ml_dtypes  # noqa: F401  names its types to numpy
import numpy as np

from nfdt.rules.corrections import Vector

if TYPE_CHECKING:
    from typing_extensions import Buffer

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
        ValueError: The bytes are not such an archive.
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
MAX_TEXT_BYTES = 1 << 20  # of a description, where nothing else is said


def pack(description: Mapping[str, Any], vector: Vector | None = None) -> bytes:
    """Packs a description and, perhaps, a vector."""
    text = json.dumps(description).encode()
    data = b"" if vector is None else vector.tobytes()
    return _LENGTH.pack(len(text)) + text + data


def unpack(
    data: Buffer, max_bytes: int = MAX_TEXT_BYTES
) -> tuple[dict[str, Any], memoryview]:
    """Returns the description, and the bytes behind it.

    Args:
        data: What :func:`pack` has made.
        max_bytes: Of the description's text.

    Raises:
        ValueError: The bytes are not what :func:`pack` makes, or too many.
    """
    text, rest = _first(memoryview(data))
    if len(text) > max_bytes:
        raise ValueError(
            f"a description must have at most {max_bytes} bytes. Received: {len(text)}."
        )
    description = json.loads(bytes(text))
    if not isinstance(description, dict):
        raise ValueError("a description must be a mapping.")
    return description, rest


def pack_list(items: Sequence[bytes]) -> bytes:
    """Packs byte strings, each behind its length."""
    return b"".join(_LENGTH.pack(len(item)) + item for item in items)


def unpack_list(data: Buffer) -> list[bytes]:
    """Returns the byte strings of :func:`pack_list`.

    Raises:
        ValueError: The bytes are not what :func:`pack_list` makes.
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
