"""The file of one snapshot: arrays with a description, in the format of safetensors.

Eight bytes hold the length of the header, which is JSON and says where in the rest
each array lies (https://github.com/huggingface/safetensors). Nothing in it is code. A
checksum in the header covers all the rest.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# NumPy's name of a type -> that of the format.
_TYPES = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
    "complex128": "C128",
}
_NAMES = {code: name for name, code in _TYPES.items()}
_ABOUT, _CHECKSUM = "about", "crc32"
_LENGTH = struct.Struct("<Q")


class Content(NamedTuple):
    """What a file holds."""

    arrays: dict[str, Array]
    about: dict[str, Any]  # what JSON can say


def is_known(array: Array) -> bool:
    """Whether a file can hold an array of this type."""
    return array.dtype.name in _TYPES


def write(path: Path, content: Content) -> None:
    """Writes a file beside its place, and moves it there when it is on the disk.

    Raises:
        OSError: The disk is full, or the folder is gone or not writable.
    """
    write_pieces(path, _pieces(content))


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """As `write`, where the bytes of the file are there already."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def size_bytes(content: Content) -> int:
    """Returns about how large the file would be that held something."""
    return sum(array.nbytes for array in content.arrays.values())


def dump(content: Content) -> bytes:
    """Returns the bytes of the file that would hold something."""
    return b"".join(_pieces(content))


def _pieces(content: Content) -> Iterator[bytes | memoryview]:
    table: dict[str, Any] = {}
    end = 0
    for name, array in content.arrays.items():
        begin, end = end, end + array.nbytes
        code, shape = _TYPES[array.dtype.name], list(array.shape)
        table[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, end]}
    about = json.dumps(content.about)
    checksum = _checksum(table, about)
    for array in content.arrays.values():
        checksum = zlib.crc32(_bytes(array), checksum)
    table["__metadata__"] = {_ABOUT: about, _CHECKSUM: str(checksum)}
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    yield _LENGTH.pack(len(header)) + header
    for array in content.arrays.values():
        yield _bytes(array)


def read(path: Path) -> Content:
    """Returns what a file holds.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged.
    """
    return parse(path.read_bytes())


def parse(data: bytes) -> Content:
    """Returns what the bytes of a file hold.

    Raises:
        ValueError: The bytes are not those of a whole file.
    """
    table, begin = _header(data)
    metadata = table.pop("__metadata__", None)
    try:
        about, expected = metadata[_ABOUT], int(metadata[_CHECKSUM])
        if zlib.crc32(memoryview(data)[begin:], _checksum(table, about)) != expected:
            raise ValueError
        arrays = {n: _array(data, begin, entry) for n, entry in table.items()}
        return Content(arrays, json.loads(about))
    except (TypeError, KeyError, ValueError):
        raise ValueError("its checksum is wrong") from None


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Returns the header, and where the arrays begin."""
    if len(data) < _LENGTH.size:
        raise ValueError("it is cut short")
    (length,) = _LENGTH.unpack_from(data)
    begin = _LENGTH.size + length
    if begin > len(data):
        raise ValueError("it is cut short")
    try:
        table = json.loads(data[_LENGTH.size : begin])
    except ValueError:
        raise ValueError("its header is not JSON") from None
    if not isinstance(table, dict):
        raise ValueError("its header is not JSON")
    return table, begin


def _array(data: bytes, begin: int, entry: Mapping[str, Any]) -> Array:
    dtype = _dtype(_NAMES[entry["dtype"]])
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError
    found = np.frombuffer(data, dtype, math.prod(shape), begin + first)
    return found.reshape(shape)


def _dtype(name: str) -> np.dtype[Any]:
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


def _checksum(table: Mapping[str, Any], about: str) -> int:
    return zlib.crc32((json.dumps(table, sort_keys=True) + about).encode())


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _sync_folder(folder: Path) -> None:
    """Makes a name in a folder last; not every file system can."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(number)
    except OSError:
        pass
    finally:
        os.close(number)
