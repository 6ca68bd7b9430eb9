"""Bytes of a message: a description in JSON with a vector behind it, and lists.

Nothing here is unpickled: JSON and plain numbers are all that crosses a network.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from nfdt.rules.corrections import Vector

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
