"""The largest elements of each variable, with error feedback."""

from __future__ import annotations

import math

import numpy as np

from fdtcore.compression import selection
from fdtcore.compression.compressor import GatheringCompressor
from fdtcore.compression.exchange import Message
from fdtcore.compression.layout import Layout, Vector, blocks
from fdtcore.compression.selection import Selected

# Variables of fewer elements are sent whole: the way costs as much.
SMALL = 1024


class SparseCompressor(GatheringCompressor):
    """Sends the largest elements of what waits to be sent, by indices and values.

    Args:
        layout: The variables.
        density: Part of each variable's elements that is sent, at least one of each.
        dtype: Type of gradients.
        small: Variables of fewer elements are sent whole.
    """

    def __init__(
        self,
        layout: Layout,
        density: float,
        dtype: type[np.floating] = np.float32,
        *,
        small: int = 0,
    ):
        super().__init__(layout, dtype)
        self.density, self._small = density, small

    def _waiting(self, gradient: Vector, part: slice) -> Vector:
        """Returns a part of what waits to be sent, this step's gradient among it."""
        raise NotImplementedError

    def message_bytes(self) -> int:
        """Returns how many bytes a rank brings to the next step, if it is not dense."""
        count = sum(self._count(stop - start) for start, stop in self.layout.ranges)
        return count * (np.dtype(np.int32).itemsize + np.dtype(self.dtype).itemsize)

    def _count(self, size: int) -> int:
        """Returns how many elements of a variable of a size are sent."""
        return size if size < self._small else math.ceil(self.density * size)

    def encode(self, gradient: Vector) -> Message:
        """Returns indices, ascending, and values."""

        def waiting(part: slice) -> Vector:
            return self._waiting(gradient, part)

        found: list[Selected] = []
        with np.errstate(all="ignore"):  # what is not finite is told by the message
            for start, stop in self.layout.ranges:
                count = self._count(stop - start)
                found.append(selection.largest(waiting, start, stop, count))
        return (
            np.concatenate([one.indices for one in found]),
            np.concatenate([one.values for one in found]),
        )

    def add(self, message: Message, total: Vector) -> None:
        """Adds a rank's elements, of which none is there twice."""
        indices, values = message
        total[indices] += values

    def is_finite(self, message: Message) -> bool:
        """Whether the gradient was that a message was made of."""
        return bool(np.isfinite(message[1]).all())


class TopK(SparseCompressor):
    """The largest elements; the rest is added to the next step's gradient.

    With r the residual and S the selected elements::

        p = r + g,   sent = p on S,   r = p off S

    Source: Stich et al., 2018, arXiv:1809.07599, Algorithm 1; Aji & Heafield, 2017,
    arXiv:1704.05021.
    """

    def __init__(
        self,
        layout: Layout,
        density: float,
        dtype: type[np.floating] = np.float32,
        *,
        small: int = 0,
    ):
        super().__init__(layout, density, dtype, small=small)
        self._residual = self.state["residual"] = self._zeros()

    def _waiting(self, gradient: Vector, part: slice) -> Vector:
        return self._residual[part] + gradient[part]

    def commit(self, gradient: Vector, message: Message) -> None:
        """Keeps what was not sent."""
        for block in blocks(0, gradient.size):
            self._residual[block] += gradient[block]
        self._residual[message[0]] = 0
