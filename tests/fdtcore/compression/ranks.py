"""Ranks that are threads, and the sum and the messages that they exchange."""

from __future__ import annotations

import concurrent.futures
import threading

import numpy as np

WAIT_S = 60


class Threads:
    """Operations among so many threads, in the order in which all call them."""

    def __init__(self, size):
        self.size = size
        self._barrier = threading.Barrier(size)
        self._brought = [None] * size

    def of(self, rank):
        return _Exchange(self, rank)

    def run(self, work):
        """Returns what ``work(rank, exchange)`` returns, by rank."""
        with concurrent.futures.ThreadPoolExecutor(self.size) as pool:
            futures = [
                pool.submit(work, rank, self.of(rank)) for rank in range(self.size)
            ]
            return [future.result(WAIT_S) for future in futures]

    def brought(self, rank, one):
        self._brought[rank] = one
        self._barrier.wait(WAIT_S)
        found = list(self._brought)
        self._barrier.wait(WAIT_S)
        return found


class _Exchange:
    def __init__(self, threads, rank):
        self._threads, self._rank, self.size = threads, rank, threads.size
        self.sent_bytes = 0

    def sum(self, vector):
        self.sent_bytes += vector.nbytes
        return np.sum(self._threads.brought(self._rank, vector.copy()), 0)

    def gather(self, message):
        self.sent_bytes += sum(one.nbytes for one in message)
        return self._threads.brought(self._rank, tuple(one.copy() for one in message))


def train(makes, gradients, *, dense=False):
    """Runs compressors, one for each rank, over the gradients of their steps.

    Args:
        makes: Returns the compressor of a rank.
        gradients: [steps, ranks, n].
        dense: How it is sent.

    Returns:
        The compressors, and by rank the sums of all steps.
    """
    compressors = [makes() for _ in gradients[0]]

    def work(rank, exchange):
        one = compressors[rank]
        return [one.reduce(g[rank], exchange, dense=dense) for g in gradients]

    return compressors, Threads(len(compressors)).run(work)
