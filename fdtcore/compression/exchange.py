"""The operations among ranks that compressors need, and those of one rank alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt

from fdtcore.compression.layout import Vector

Array = npt.NDArray[Any]
Message = tuple[Array, ...]  # of the same types and lengths on all ranks


class Exchange(Protocol):
    """The operations that a compressor needs; all ranks call them in the same order."""

    size: int  # number of ranks

    def sum(self, vector: Vector) -> Vector:
        """Returns the sum over the ranks, the same bit by bit on all."""

    def gather(self, message: Message) -> Sequence[Message]:
        """Returns the messages of all ranks, by rank."""


class Alone:
    """One rank."""

    size = 1

    def sum(self, vector: Vector) -> Vector:
        """Returns the vector."""
        return vector

    def gather(self, message: Message) -> Sequence[Message]:
        """Returns the message."""
        return [message]
