"""The compressor of a choice, and the reading of its messages where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fdtcore.compression import specification
from fdtcore.compression.compressor import Sender
from fdtcore.compression.deep_gradient import DeepGradient
from fdtcore.compression.exchange import Message
from fdtcore.compression.layout import Layout, Vector
from fdtcore.compression.power_sgd import Factors, PowerSGD
from fdtcore.compression.sign import Sign, add_signs
from fdtcore.compression.specification import Specification
from fdtcore.compression.top_k import TopK, add_elements


def compressor(
    chosen: Specification,
    layout: Layout,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    dtype: type[np.floating] = np.float32,
) -> Sender:
    """Makes a compressor.

    Args:
        chosen: The user's choice.
        layout: The variables.
        momentum: That `dgc` has in the optimizer's place.
        nesterov: Whether it is Nesterov's.
        dtype: Type of gradients.
    """
    if chosen.kind == specification.TOP_K:
        return TopK(layout, chosen.ratio, dtype)
    if chosen.kind == specification.SIGN:
        return Sign(layout, dtype)
    if chosen.kind == specification.POWER_SGD:
        return PowerSGD(layout, chosen.rank, chosen.start_steps, dtype=dtype)
    return DeepGradient(layout, chosen.ratio, momentum, nesterov=nesterov, dtype=dtype)


def packed(message: Message) -> npt.NDArray[np.uint8]:
    """Returns the bytes of a message."""
    return np.concatenate([one.reshape(-1).view(np.uint8) for one in message])


class Reader:
    """Reads messages of another one's compressor, whose state it does not need.

    Args:
        chosen: The user's choice.
        layout: The variables.
        dtype: Type of gradients.
    """

    def __init__(self, chosen: Specification, layout: Layout, dtype: np.dtype[Any]):
        self._kind, self._layout, self._dtype = chosen.kind, layout, dtype
        self._factors = Factors(layout, chosen.rank)

    def read(self, payload: memoryview, out: Vector) -> None:
        """Writes what the bytes of a message stand for.

        Args:
            payload: As :func:`packed` returned it.
            out: A vector of all variables, [n]; written.

        Raises:
            ValueError: The bytes are no message of these variables.
        """
        message = self._unpacked(payload)
        if self._kind == specification.POWER_SGD:
            self._factors.write(message, out)
            return
        out.fill(0)
        if self._kind == specification.SIGN:
            add_signs(message, self._layout, out)
        else:
            places = message[0]
            if len(places) and not 0 <= places.min() <= places.max() < out.size:
                raise ValueError(
                    "elements must lie within the vector. Received: places "
                    f"{places.min()} to {places.max()} in a vector of {out.size}."
                )
            add_elements(message, self._layout, out)

    def _unpacked(self, payload: memoryview) -> Message:
        found: list[npt.NDArray[Any]] = []
        start = 0
        for dtype, length in self._lengths(len(payload)):
            stop = start + length * dtype.itemsize
            found.append(np.frombuffer(payload[start:stop], dtype))
            start = stop
        return tuple(found)

    def _lengths(self, num_bytes: int) -> list[tuple[np.dtype[Any], int]]:
        """Returns type and length of each array of a message."""
        layout, dtype = self._layout, self._dtype
        wholes = layout.size_of_wholes
        if self._kind == specification.SIGN:
            bits = -(-(layout.size - wholes) // 8)
            scales = (dtype, len(layout.compressed))
            found = [(np.dtype(np.uint8), bits), scales, (dtype, wholes)]
        elif self._kind == specification.POWER_SGD:
            sizes = self._factors.first_size, self._factors.second_size
            found = [(dtype, size) for size in sizes]
        else:
            place = np.dtype(np.int32)
            each = place.itemsize + dtype.itemsize
            count = max(0, (num_bytes - wholes * dtype.itemsize) // each)
            found = [(place, count), (dtype, count + wholes)]
        expected = sum(dtype.itemsize * length for dtype, length in found)
        if expected != num_bytes:
            raise ValueError(
                "a compressed gradient must be of these variables. Received: "
                f"{num_bytes} bytes in place of {expected}, of {self._kind}."
            )
        return found
