"""The samples of a batch that belong to each rank, and their fraction of it."""

from __future__ import annotations

from typing import Any


def bounds(num_samples: Any, rank: int, size: int) -> tuple[Any, Any]:
    """Half-open range of one rank's samples in a batch.

    ::

        start = ceil(rank * n / size),   stop = ceil((rank + 1) * n / size)

    The parts are contiguous, disjoint, cover the batch, and differ in length by at
    most one. Where the batch has fewer samples than there are ranks some are empty,
    but never rank 0's.

    Args:
        num_samples: n, samples in the whole batch; an int or an integer tensor.
        rank: Rank whose part it is, ``0 <= rank < size``.
        size: Number of ranks of the job.

    Returns:
        ``(start, stop)``, of the type of ``num_samples``.
    """
    return -(-rank * num_samples // size), -(-(rank + 1) * num_samples // size)
