"""Gradients on the way to a server: whole variables, and rows of tables.

The types of gradients, and of parameters on their way back.

Where all of a gradient is dense, the payload is the vector itself; else it is made of
segments: ``[n, row size, starts of the n rows..., values]``, in little-endian 64-bit
integers and values of the wire's type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt

from nfdt.protocol.messages import as_bytes
from nfdt.protocol.topology import Range, overlap
from nfdt.rules.corrections import Vector

if TYPE_CHECKING:
    from typing_extensions import Buffer

WIRE_TYPES: Mapping[str, Any] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_HEAD_BYTES = 16


def narrower(dtype: str, wire: str) -> str:
    """Returns the type in which parameters answer a push: the wire's, or their own.

    Args:
        dtype: Type of the parameters, a key of ``WIRE_TYPES``.
        wire: Type of gradients on the way, of the same.
    """
    is_narrower = WIRE_TYPES[wire].itemsize < WIRE_TYPES[dtype].itemsize
    return wire if is_narrower else dtype


class Rows(NamedTuple):
    """The gradient of a table of which a batch has used some rows."""

    start: int  # of the table in the flat vector
    row_size: int
    indices: np.ndarray  # [n] int64, each once
    values: np.ndarray  # [n, row_size]

    def add_to(self, vector: Vector) -> None:
        """Adds it to a flat vector."""
        places = self.start + self.indices[:, None] * self.row_size
        vector[places + np.arange(self.row_size)] += self.values


class Dense(NamedTuple):
    """The gradient of one variable."""

    start: int  # of the variable in the flat vector
    values: np.ndarray  # [size]

    def add_to(self, vector: Vector) -> None:
        """Adds it to a flat vector."""
        vector[self.start : self.start + self.values.size] += self.values


def pack_gradient(
    gradients: Sequence[Dense | Rows], shard: Range, wire: str
) -> tuple[int, bytes | Vector]:
    """Packs what of a gradient falls into a shard.

    Args:
        gradients: One for each variable, in the order of the vector; together they
            cover the shard.
        shard: The server's part of the vector.
        wire: Type of the values, a key of ``WIRE_TYPES``.

    Returns:
        The number of segments, 0 for a plain vector, and the payload.
    """
    dtype = WIRE_TYPES[wire]
    dense = [gradient for gradient in gradients if isinstance(gradient, Dense)]
    if len(dense) == len(gradients):
        vector = np.empty(shard.size, dtype)
        for gradient in dense:
            _cut_dense(gradient, shard, vector)
        # As bytes: not every type is known to those who send them.
        return 0, vector.view(np.uint8)
    segments = [s for gradient in gradients for s in _segments(gradient, shard)]
    parts = []
    for segment in segments:
        parts.append(np.array([len(segment.starts), segment.row_size], "<i8").tobytes())
        parts.append(segment.starts.astype("<i8").tobytes())
        parts.append(segment.values.astype(dtype).tobytes())
    return len(segments), b"".join(parts)


def unpack_gradient(
    parts: int, payload: Buffer | npt.NDArray[Any], vector: Vector, wire: str
) -> None:
    """Writes a packed gradient into a vector, with zeros where it says nothing.

    Args:
        parts: Number of segments, 0 for a plain vector.
        payload: Bytes or a contiguous array, as :func:`pack_gradient` made it.
        vector: The shard's, [P]; written.
        wire: Type of the values.

    Raises:
        ValueError: The payload does not fit the shard.
    """
    dtype = WIRE_TYPES[wire]
    view = as_bytes(payload)
    if not parts:
        _demand_fit(len(view) == vector.size * dtype.itemsize, len(view), vector)
        vector[...] = np.frombuffer(view, dtype)
        return
    vector[...] = 0
    for _ in range(parts):
        view = _unpack_segment(view, vector, dtype)
    _demand_fit(not view, len(view), vector)


class _Segment(NamedTuple):
    starts: np.ndarray  # [n] int64: of rows, in the shard
    row_size: int
    values: np.ndarray  # [n, row_size]


def _unpack_segment(
    view: memoryview, vector: Vector, dtype: np.dtype[Any]
) -> memoryview:
    """Writes one segment and returns what is behind it."""
    _demand_fit(len(view) >= _HEAD_BYTES, len(view), vector)
    count, row_size = (int(n) for n in np.frombuffer(view[:_HEAD_BYTES], "<i8"))
    starts_bytes, values_bytes = 8 * count, count * row_size * dtype.itemsize
    view = view[_HEAD_BYTES:]
    fits = count >= 0 <= row_size and starts_bytes + values_bytes <= len(view)
    _demand_fit(fits, len(view), vector)
    starts = np.frombuffer(view[:starts_bytes], "<i8")
    view = view[starts_bytes:]
    values = np.frombuffer(view[:values_bytes], dtype).reshape(count, row_size)
    if count and not 0 <= starts.min() <= starts.max() <= vector.size - row_size:
        raise ValueError(
            f"rows must lie within the shard. Received: {starts.min()} to "
            f"{starts.max()}, of {row_size}, in a shard of {vector.size}."
        )
    if count == 1:
        vector[starts[0] : starts[0] + row_size] = values[0]
    elif count and row_size:
        # Whole rows of a table: element by element it would take ten times as long.
        first = int(starts[0]) % row_size
        rows, rest = np.divmod(starts - first, row_size)
        if rest.any():
            raise ValueError(
                "the rows of a segment must be those of one table. Received: starts "
                f"that differ by {int(rest.max())} from multiples of {row_size}."
            )
        length = (vector.size - first) // row_size * row_size
        vector[first : first + length].reshape(-1, row_size)[rows] = values
    return view[values_bytes:]


def _demand_fit(fits: bool, found_bytes: int, vector: Vector) -> None:
    if not fits:
        raise ValueError(
            f"a gradient must fit its shard. Received: {found_bytes} bytes for "
            f"{vector.size} elements."
        )


def _cut_dense(gradient: Dense, shard: Range, vector: np.ndarray) -> None:
    values = gradient.values
    part = overlap(shard, gradient.start, gradient.start + values.size)
    vector[part.start - shard.start : part.stop - shard.start] = values[
        part.start - gradient.start : part.stop - gradient.start
    ]


def _segments(gradient: Dense | Rows, shard: Range) -> list[_Segment]:
    if isinstance(gradient, Dense):
        values = gradient.values
        part = overlap(shard, gradient.start, gradient.start + values.size)
        first = np.array([part.start - shard.start], np.int64)
        own = values[part.start - gradient.start : part.stop - gradient.start]
        return [_Segment(first, part.size, own[None])] if part.size else []
    starts = gradient.start + gradient.indices.astype(np.int64) * gradient.row_size
    inside = (starts >= shard.start) & (starts + gradient.row_size <= shard.stop)
    own = gradient.values[inside]
    # Even an empty one: without segments, a payload is a plain vector.
    found = [_Segment(starts[inside] - shard.start, gradient.row_size, own)]
    # A row that crosses the border of shards is cut.
    crossing = (
        ~inside & (starts < shard.stop) & (starts + gradient.row_size > shard.start)
    )
    for row in np.flatnonzero(crossing):
        whole = Dense(int(starts[row]), gradient.values[row])
        found += _segments(whole, shard)
    return found
