"""The place of each variable in the one vector that all of them make."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.floating]

# Variables of fewer elements are sent whole: the way costs as much.
SMALL = 1024
# All passes over a piece of this length are made while it is in the cache.
BLOCK_ELEMENTS = 32_768


@dataclasses.dataclass(frozen=True)
class Layout:
    """Variables one behind the other.

    Args:
        shapes: Shape of each variable.
        whole: Which of them a compressor sends as they are; empty: none.
    """

    shapes: tuple[tuple[int, ...], ...]
    whole: tuple[bool, ...] = ()

    @functools.cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Where each variable begins and ends, in elements."""
        sizes = [math.prod(shape) for shape in self.shapes]
        return tuple(itertools.pairwise([0, *itertools.accumulate(sizes)]))

    @property
    def size(self) -> int:
        """Number of elements of all variables."""
        return self.ranges[-1][1] if self.ranges else 0

    @functools.cached_property
    def compressed(self) -> tuple[tuple[int, int], ...]:
        """The ranges of those that are compressed."""
        whole = self.whole or (False,) * len(self.shapes)
        return tuple(
            one
            for one, is_whole in zip(self.ranges, whole, strict=True)
            if not is_whole
        )

    @functools.cached_property
    def wholes(self) -> tuple[tuple[int, int], ...]:
        """The ranges of those that are sent as they are."""
        whole = self.whole or (False,) * len(self.shapes)
        return tuple(
            one for one, is_whole in zip(self.ranges, whole, strict=True) if is_whole
        )

    @property
    def size_of_wholes(self) -> int:
        """Number of elements that are sent as they are."""
        return sum(stop - start for start, stop in self.wholes)

    def add_wholes(self, values: Vector, total: Vector) -> None:
        """Adds what was sent as it is to a vector of all variables."""
        first = 0
        for start, stop in self.wholes:
            total[start:stop] += values[first : first + stop - start]
            first += stop - start


def is_large(shape: Sequence[int]) -> bool:
    """Whether a variable of a shape is worth compressing."""
    return len(shape) > 1 and math.prod(shape) >= SMALL


def blocks(start: int, stop: int) -> Iterator[slice]:
    """Returns the pieces in which the elements of a range are worked through."""
    for first in range(start, stop, BLOCK_ELEMENTS):
        yield slice(first, min(first + BLOCK_ELEMENTS, stop))
