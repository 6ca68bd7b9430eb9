"""Makes one rank of a job slow, as a straggler among equals would be."""

import argparse
import itertools
import os
import statistics
import time

import keras

from fdtcore.process import Process


class Slowing(keras.callbacks.Callback):
    """Makes each step after the first epoch take a number of times as long.

    The first epoch, which is not timed, shows how long a step takes; from then on each
    begins with a sleep. It acts where batches begin only: a hook where they end makes
    ``fit`` read each step's loss, and so takes another way through it.

    Args:
        factor: How many times as long.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.pause_s = 0.0
        self._begins_s: list[float] = []  # of the steps of the first epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Measure in the first epoch, sleep in the others."""
        del batch, logs
        if self.pause_s:
            time.sleep(self.pause_s)
        else:
            self._begins_s.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """End the measurement."""
        del logs
        if epoch == 0:
            self.pause_s = (self.factor - 1) * median_step_s(self._begins_s)


def median_step_s(begins_s: list[float]) -> float:
    """Return the median time between two begins; the first step's tracing has no say.

    >>> median_step_s([0.0, 9.0, 10.0, 11.5, 13.0])
    1.5
    """
    pairs = itertools.pairwise(begins_s)
    return statistics.median(later - sooner for sooner, later in pairs)


def callbacks(options: argparse.Namespace) -> list[keras.callbacks.Callback]:
    """Return what makes this process slow: nothing, unless its rank is the slow one."""
    rank = Process.from_environ(os.environ).rank
    is_slow = options.slowdown > 1 and rank == options.slow_rank
    return [Slowing(options.slowdown)] if is_slow else []
