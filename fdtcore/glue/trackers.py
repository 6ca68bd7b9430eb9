"""``Mean`` and ``Sum`` metrics that receive one value for a whole batch.

Values of samples are counted by each rank for its own part, and totals add up. One
value of a batch (a loss that a ``train_step`` has computed, a metric function that
takes the mean itself) would be counted by every rank: total and count are the
right ones where each rank's value is weighted by its share of the samples; a sum
over samples is scaled before (``rehearsal`` finds out which it is). A step that gives
a weight of its own weighs by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import metrics

from fdtcore.glue import binding, combining
from fdtcore.glue.step import shared, watching
from fdtcore.keras_types import Metric, Tensor


def note(tracker: Metric, kind: str) -> None:
    """Notes what a tracker is given for a batch."""
    kinds = binding.context().tracker_kinds
    kinds[tracker] = combining.agreed([kind, kinds.get(tracker, combining.UNKNOWN)])


def patch() -> None:
    """Puts the weighing in front of Keras's own updates."""
    for cls in (metrics.Mean, metrics.Sum):
        cls.update_state = _weighed(cls.update_state)


def _weighed(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def update_state(self: Metric, values: Tensor, sample_weight: Tensor = None) -> Any:
        step, record = shared(), watching()
        if sample_weight is not None or tf.convert_to_tensor(values).shape.rank != 0:
            return inner(self, values, sample_weight)
        if record is not None:
            record.scalars.append((self, values))
        if step is None:
            return inner(self, values)
        if binding.context().tracker_kinds.get(self) == combining.SUM:
            values = tf.convert_to_tensor(values)
            values *= tf.cast(step.sum_scale, values.dtype)
        return inner(self, values, step.share)

    return update_state
