"""State of rules as bytes: for checkpoints and for what travels. Never pickled."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any
from zipfile import BadZipFile

import ml_dtypes  # noqa: F401  names its types to numpy
import numpy as np

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
