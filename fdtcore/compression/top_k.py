"""The largest elements of each variable, with error feedback."""

from __future__ import annotations

import math

import numpy as np

from fdtcore.compression import selection
from fdtcore.compression.compressor import GatheringCompressor
from fdtcore.compression.exchange import Message
from fdtcore.compression.layout import Layout, Vector, blocks
from fdtcore.compression.selection import Selected


class SparseCompressor(GatheringCompressor):
    """Sends the largest elements of what waits to be sent, by indices and values.

    Args:
        layout: The variables.
        density: Part of each variable's elements that is sent, at least one of each.
        dtype: Type of gradients.
    """

    def __init__(
        self, layout: Layout, density: float, dtype: type[np.floating] = np.float32
    ):
        super().__init__(layout, dtype)
        self.density = density

    def _waiting(self, gradient: Vector, part: slice) -> Vector:
        """Returns a part of what waits to be sent, this step's gradient among it."""
        raise NotImplementedError

    def message_bytes(self) -> int:
        """Returns how many bytes a rank brings to the next step, if it is not dense."""
        count = sum(self._count(stop - start) for start, stop in self.layout.compressed)
        value_bytes = np.dtype(self.dtype).itemsize
        num_bytes = count * (np.dtype(np.int32).itemsize + value_bytes)
        return num_bytes + self.layout.size_of_wholes * value_bytes

    def _count(self, size: int) -> int:
        """Returns how many elements of a variable of a size are sent."""
        return math.ceil(self.density * size)

    def count(self, message: Message) -> int:
        """Returns of how many elements a message tells."""
        return len(message[1])

    def encode(self, gradient: Vector) -> Message:
        """Returns indices, ascending, and their values; behind them, whole variables.

        The latter have no indices.
        """

        def waiting(part: slice) -> Vector:
            return self._waiting(gradient, part)

        found: list[Selected] = []
        with np.errstate(all="ignore"):  # what is not finite is told by the message
            for start, stop in self.layout.compressed:
                count = self._count(stop - start)
                found.append(selection.largest(waiting, start, stop, count))
            wholes = [waiting(slice(*one)) for one in self.layout.wholes]
        return (
            np.concatenate([np.empty(0, np.int32), *(one.indices for one in found)]),
            np.concatenate([*(one.values for one in found), *wholes]),
        )

    def add(self, message: Message, total: Vector) -> None:
        """Adds a rank's elements, of which none is there twice."""
        add_elements(message, self.layout, total)

    def is_finite(self, message: Message) -> bool:
        """Whether the gradient was that a message was made of."""
        return bool(np.isfinite(message[1]).all())

    def _clear(self, vector: Vector, message: Message) -> None:
        """Leaves nothing where elements were sent."""
        vector[message[0]] = 0
        for start, stop in self.layout.wholes:
            vector[start:stop] = 0


def add_elements(message: Message, layout: Layout, total: Vector) -> None:
    """Adds the elements of a message to a vector, [n]."""
    indices, values = message
    total[indices] += values[: len(indices)]
    layout.add_wholes(values[len(indices) :], total)


class TopK(SparseCompressor):
    """The largest elements; the rest is added to the next step's gradient.

    With r the residual and S the selected elements::

        p = r + g,   sent = p on S,   r = p off S

    Source: Stich et al., 2018, arXiv:1809.07599, Algorithm 1; Aji & Heafield, 2017,
    arXiv:1704.05021.
    """

    def __init__(
        self, layout: Layout, density: float, dtype: type[np.floating] = np.float32
    ):
        super().__init__(layout, density, dtype)
        self._residual = self.state["residual"] = self._zeros()

    def _waiting(self, gradient: Vector, part: slice) -> Vector:
        return self._residual[part] + gradient[part]

    def commit(self, gradient: Vector, message: Message) -> None:
        """Keeps what was not sent."""
        for block in blocks(0, gradient.size):
            self._residual[block] += gradient[block]
        self._clear(self._residual, message)
