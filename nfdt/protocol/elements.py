"""Some elements of a vector on their way: the places, and the values there.

A payload is ``[places..., values...]``, in little-endian 32-bit integers and values of
the type that was agreed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nfdt.protocol.messages import as_bytes
from nfdt.rules.corrections import Vector

if TYPE_CHECKING:
    from typing_extensions import Buffer

ELEMENTS = -1  # in place of the number of segments of a payload
_PLACE = np.dtype("<i4")


PLACE_BYTES = _PLACE.itemsize


class Elements(NamedTuple):
    """Elements of a vector."""

    places: npt.NDArray[np.int32]  # [k], each once
    values: Vector  # [k]

    def pack(self) -> npt.NDArray[np.uint8]:
        """Returns the payload."""
        places = np.ascontiguousarray(self.places, _PLACE).view(np.uint8)
        values = np.ascontiguousarray(self.values).view(np.uint8)
        return np.concatenate([places, values])


def unpack(
    payload: Buffer | npt.NDArray[Any], size: int, dtype: np.dtype[Any]
) -> Elements:
    """Returns the elements in a payload.

    Args:
        payload: Bytes or a contiguous array, as :meth:`Elements.pack` made it.
        size: Of the vector.
        dtype: Type of the values.

    Raises:
        ValueError: The payload is of no such vector.
    """
    view = as_bytes(payload)
    count, rest = divmod(len(view), _PLACE.itemsize + dtype.itemsize)
    if rest:
        raise ValueError(
            "elements must be places and values. Received: "
            f"{len(view)} bytes for values of {dtype.itemsize} bytes."
        )
    border = count * _PLACE.itemsize
    places = np.frombuffer(view[:border], _PLACE)
    if count and not 0 <= places.min() <= places.max() < size:
        raise ValueError(
            "elements must lie within the vector. Received: places "
            f"{places.min()} to {places.max()} in a vector of {size}."
        )
    return Elements(places, np.frombuffer(view[border:], dtype))
