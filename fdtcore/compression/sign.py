"""Signs of elements and one scale for each variable, with error feedback."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fdtcore.compression.compressor import GatheringCompressor
from fdtcore.compression.exchange import Message
from fdtcore.compression.layout import Layout, Vector, blocks


class Sign(GatheringCompressor):
    """One bit an element; what that leaves out is added to the next gradient.

    For each variable with n elements, with r the residual::

        p = r + g,   sent = |p|_1 / n sign(p),   r = p - sent

    A zero counts as positive. Variables that go whole are sent as they are.

    Args:
        layout: The variables.
        dtype: Type of gradients.

    Source: Karimireddy et al., "Error Feedback Fixes SignSGD", 2019, arXiv:1901.09847,
    Algorithm 1.
    """

    def __init__(self, layout: Layout, dtype: type[np.floating] = np.float32):
        super().__init__(layout, dtype)
        self._residual = self.state["residual"] = self._zeros()

    def message_bytes(self) -> int:
        """Returns how many bytes a rank brings to the next step, if it is not dense."""
        layout = self.layout
        bits = layout.size - layout.size_of_wholes
        values = len(layout.compressed) + layout.size_of_wholes
        return -(-bits // 8) + values * np.dtype(self.dtype).itemsize

    def encode(self, gradient: Vector) -> Message:
        """Returns signs, eight to a byte, the scales, and what is sent as it is."""
        layout = self.layout
        positive = np.empty(layout.size - layout.size_of_wholes, bool)
        scales = np.empty(len(layout.compressed), self.dtype)
        first = 0
        with np.errstate(all="ignore"):  # what is not finite is told by the scale
            for i, (start, stop) in enumerate(layout.compressed):
                total = 0.0
                for block in blocks(start, stop):
                    waiting = self._residual[block] + gradient[block]
                    last = first + waiting.size
                    np.greater_equal(waiting, 0, out=positive[first:last])
                    total += float(np.abs(waiting, out=waiting).sum())
                    first = last
                scales[i] = total / (stop - start)
        wholes = [gradient[start:stop] for start, stop in layout.wholes]
        empty = np.empty(0, self.dtype)
        return np.packbits(positive), scales, np.concatenate([empty, *wholes])

    def add(self, message: Message, total: Vector) -> None:
        """Adds a rank's scaled signs."""
        add_signs(message, self.layout, total)

    def is_finite(self, message: Message) -> bool:
        """Whether the gradient was that a message was made of."""
        return all(bool(np.isfinite(one).all()) for one in message[1:])

    def commit(self, gradient: Vector, message: Message) -> None:
        """Keeps what the signs leave out."""
        for block, sent in _decoded(message, self.layout):
            self._residual[block] += gradient[block]
            self._residual[block] -= sent


def add_signs(message: Message, layout: Layout, total: Vector) -> None:
    """Adds the scaled signs of a message to a vector, [n]."""
    for block, sent in _decoded(message, layout):
        total[block] += sent
    layout.add_wholes(message[2], total)


def _decoded(message: Message, layout: Layout) -> Iterator[tuple[slice, Vector]]:
    """Returns piece by piece what the signs of a message stand for."""
    scales = message[1]
    positive = np.unpackbits(message[0], count=layout.size - layout.size_of_wholes)
    first = 0
    for scale, (start, stop) in zip(scales, layout.compressed, strict=True):
        for block in blocks(start, stop):
            last = first + block.stop - block.start
            with np.errstate(all="ignore"):  # a scale may be infinite
                sent = np.multiply(positive[first:last], 2 * scale, dtype=scales.dtype)
                sent -= scale
            yield block, sent
            first = last
