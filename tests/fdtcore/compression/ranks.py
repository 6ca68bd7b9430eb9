"""The sum and the messages that ranks exchange, which are threads."""

from __future__ import annotations

import numpy as np

from benchmarks.rank_threads import RankThreads


class _Exchange:
    def __init__(self, threads, rank):
        self._threads, self._rank, self.size = threads, rank, threads.size
        self.sent_bytes = 0

    def sum(self, vector):
        self.sent_bytes += vector.nbytes
        return np.sum(self._threads.bring(self._rank, vector.copy()), 0)

    def gather(self, message):
        self.sent_bytes += sum(one.nbytes for one in message)
        return self._threads.bring(self._rank, tuple(one.copy() for one in message))


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
    threads = RankThreads(len(compressors))

    def work(rank):
        one, exchange = compressors[rank], _Exchange(threads, rank)
        return [one.reduce(g[rank], exchange, dense=dense) for g in gradients]

    return compressors, threads.run(work)
