"""Compressors of gradients, and the sum of the messages of all ranks."""

from __future__ import annotations

import abc

import numpy as np

from fdtcore.compression.exchange import Array, Exchange, Message
from fdtcore.compression.layout import Layout, Vector, blocks

_ALIGNMENT_BYTES = 64


class Compressor(abc.ABC):
    """Sums gradients over ranks, of which it sends a part, and keeps what is left.

    A step in which the gradient of a rank is not finite changes no state, on any rank,
    and its sum is NaN.

    Args:
        layout: The variables.
        dtype: Type of gradients.
    """

    def __init__(self, layout: Layout, dtype: type[np.floating] = np.float32):
        self.layout, self.dtype = layout, dtype
        # What is left on each rank: of these the sum over the ranks matters.
        self.state: dict[str, Vector] = {}
        # What is alike on all ranks.
        self.steps = np.zeros(1, np.int64)  # that have changed the state
        self.shared: dict[str, Array] = {"steps": self.steps}

    @abc.abstractmethod
    def reduce(self, gradient: Vector, exchange: Exchange, *, dense: bool) -> Vector:
        """Returns what is now applied of the sum of the ranks' gradients.

        Args:
            gradient: This rank's, [n]; what is not finite is allowed.
            exchange: Operations among the ranks.
            dense: Whether what is sent goes as a whole vector: the same sum, by
                another way.
        """

    @abc.abstractmethod
    def message_bytes(self) -> int:
        """Returns how many bytes a rank brings to the next step, if it is not dense."""

    def _zeros(self) -> Vector:
        # TensorFlow takes over an array as it is only where it begins at such a place.
        size_bytes = self.layout.size * np.dtype(self.dtype).itemsize
        raw = np.zeros(size_bytes + _ALIGNMENT_BYTES, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT_BYTES
        found: Vector = raw[start : start + size_bytes].view(self.dtype)
        return found


class Sender(Compressor):
    """Makes a message of a gradient, and keeps what the message leaves out.

    Where only one side compresses, the message is sent to the other one, and the state
    follows when it was taken there.
    """

    @property
    def sends_whole(self) -> bool:
        """Whether this step's gradient is sent as it is, and changes no state."""
        return False

    @abc.abstractmethod
    def encode(self, gradient: Vector) -> Message:
        """Returns what is sent; the state is left as it is.

        Where the gradient of a variable is not finite, what its message stands for is
        not, either.
        """

    @abc.abstractmethod
    def commit(self, gradient: Vector, message: Message) -> None:
        """Changes the state: the message is part of a step.

        Args:
            gradient: Which the message was made of.
            message: What was sent.
        """

    @abc.abstractmethod
    def add(self, message: Message, total: Vector) -> None:
        """Adds what a message stands for to a sum, [n]."""

    def count(self, message: Message) -> int:
        """Returns of how many elements a message tells."""
        del message
        return self.layout.size


class GatheringCompressor(Sender):
    """Sends every rank's message to all, each of which adds them up."""

    @abc.abstractmethod
    def is_finite(self, message: Message) -> bool:
        """Whether the gradient was that a message was made of."""

    def reduce(self, gradient: Vector, exchange: Exchange, *, dense: bool) -> Vector:
        """Returns what is now applied of the sum of the ranks' gradients."""
        message = self.encode(gradient)
        total = self._zeros()
        if dense:
            if self.is_finite(message):
                self.add(message, total)
            else:
                total.fill(np.nan)
            total = exchange.sum(total)
            is_finite = all_finite(total)
        else:
            messages = exchange.gather(message)
            is_finite = all(map(self.is_finite, messages))
            for one in messages if is_finite else ():
                self.add(one, total)
        if is_finite:
            self.commit(gradient, message)
            self.steps += 1
        else:
            total.fill(np.nan)
        return total


def all_finite(vector: Vector) -> bool:
    """Whether all elements of a vector are finite."""
    return all(np.isfinite(vector[block]).all() for block in blocks(0, vector.size))
