"""Which part of the flat parameter vector is whose."""

from __future__ import annotations

import itertools
from typing import NamedTuple


class Range(NamedTuple):
    """A half-open range of elements."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start


def split(size: int, num_servers: int) -> tuple[Range, ...]:
    """Splits a vector into contiguous shards that differ by at most one element.

    Args:
        size: Elements of the vector; all have the same number of bytes.
        num_servers: Number of shards.

    Returns:
        One range for each server; some are empty where there are more servers than
        elements.
    """
    cuts = [-(-size * index // num_servers) for index in range(num_servers + 1)]
    return tuple(Range(*pair) for pair in itertools.pairwise(cuts))


def overlap(shard: Range, start: int, stop: int) -> Range:
    """Returns what ``start .. stop`` has in common with a shard, perhaps nothing."""
    first = min(max(start, shard.start), shard.stop)
    return Range(first, max(first, min(stop, shard.stop)))
