"""The place of each variable in the one vector that all of them make."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.floating]

# All passes over a piece of this length are made while it is in the cache.
BLOCK_ELEMENTS = 32_768


@dataclasses.dataclass(frozen=True)
class Layout:
    """Variables one behind the other.

    Args:
        shapes: Shape of each variable.
    """

    shapes: tuple[tuple[int, ...], ...]

    @functools.cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Where each variable begins and ends, in elements."""
        sizes = [math.prod(shape) for shape in self.shapes]
        return tuple(itertools.pairwise([0, *itertools.accumulate(sizes)]))

    @property
    def size(self) -> int:
        """Number of elements of all variables."""
        return self.ranges[-1][1] if self.ranges else 0


def blocks(start: int, stop: int) -> Iterator[slice]:
    """Returns the pieces in which the elements of a range are worked through."""
    for first in range(start, stop, BLOCK_ELEMENTS):
        yield slice(first, min(first + BLOCK_ELEMENTS, stop))
