"""The batches of a run, in the order in which steps end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.papers.data import Data
from benchmarks.papers.images import Images
from benchmarks.papers.works import Work


def batches(work: Work, found: Data, seed: int) -> Iterator[tuple[Images, np.ndarray]]:
    """Yields batches for ever: each epoch has every image once, but for a last part.

    Which worker gets which follows from their times; what is in the n-th batch does
    not, so runs with other algorithms and times see the same batches.

    Args:
        work: For the size, and what is done to the images.
        found: The data set.
        seed: Of the order, and of distortions.
    """
    order = np.random.default_rng((seed, 10))
    distortion = np.random.default_rng((seed, 11))
    count = len(found.x)
    while True:
        shuffled = order.permutation(count)
        for start in range(0, count - work.batch + 1, work.batch):
            part = shuffled[start : start + work.batch]
            yield work.prepare(found.x[part], distortion), found.y[part]
