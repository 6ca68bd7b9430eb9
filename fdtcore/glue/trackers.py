"""``Mean`` and ``Sum`` that are given one value for a whole batch.

Values of samples are counted by each rank for its own part, and totals add up. One
value of a batch (a loss that a ``train_step`` has computed, a metric function that
takes the mean itself) would be counted by every rank: total and count are the
right ones where each rank's value weighs as much as its share of the samples. A step
that gives a weight of its own weighs by itself.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
from keras import metrics

from fdtcore.glue.step import current


def patch() -> None:
    """Puts the weighing in front of Keras's own updates."""
    for cls in (metrics.Mean, metrics.Sum):
        cls.update_state = _weighed(cls.update_state)


def _weighed(inner: Any) -> Any:
    @functools.wraps(inner)
    def update_state(self: Any, values: Any, sample_weight: Any = None) -> Any:
        step = current()
        if (
            step is None
            or not step.engine.in_parts
            or sample_weight is not None
            or tf.convert_to_tensor(values).shape.rank != 0
        ):
            return inner(self, values, sample_weight)
        return inner(self, values, step.share)

    return update_state
