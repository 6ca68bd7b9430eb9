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

    A zero counts as positive.

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
        scales = len(self.layout.ranges) * np.dtype(self.dtype).itemsize
        return -(-self.layout.size // 8) + scales

    def encode(self, gradient: Vector) -> Message:
        """Returns the signs, eight to a byte, and the scales."""
        positive = np.empty(gradient.size, bool)
        scales = np.empty(len(self.layout.ranges), self.dtype)
        with np.errstate(all="ignore"):  # what is not finite is told by the scale
            for i, (start, stop) in enumerate(self.layout.ranges):
                total = 0.0
                for block in blocks(start, stop):
                    waiting = self._residual[block] + gradient[block]
                    np.greater_equal(waiting, 0, out=positive[block])
                    total += float(np.abs(waiting, out=waiting).sum())
                scales[i] = total / (stop - start)
        return np.packbits(positive), scales

    def add(self, message: Message, total: Vector) -> None:
        """Adds a rank's scaled signs."""
        for block, sent in self._decoded(message):
            total[block] += sent

    def is_finite(self, message: Message) -> bool:
        """Whether the gradient was that a message was made of."""
        return bool(np.isfinite(message[1]).all())

    def commit(self, gradient: Vector, message: Message) -> None:
        """Keeps what the signs leave out."""
        for block, sent in self._decoded(message):
            self._residual[block] += gradient[block]
            self._residual[block] -= sent

    def _decoded(self, message: Message) -> Iterator[tuple[slice, Vector]]:
        """Returns piece by piece what a message stands for."""
        positive = np.unpackbits(message[0], count=self.layout.size)
        for scale, (start, stop) in zip(message[1], self.layout.ranges, strict=True):
            for block in blocks(start, stop):
                sent = np.multiply(positive[block], 2 * scale, dtype=self.dtype)
                sent -= scale
                yield block, sent
