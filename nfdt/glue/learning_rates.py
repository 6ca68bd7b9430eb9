"""Learning rates that change: who computes them, and at which version.

A schedule of Keras's own goes to the servers, which follow it update by update. Any
other one, and a function, is code of the script: each worker computes it where Keras
would, at the version that its gradient is of, and sends it with the push.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from fdtcore.glue.keras_internals import rate_source
from fdtcore.keras_types import Optimizer, Tensor


@keras.saving.register_keras_serializable("nfdt")
class SentRate(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of a server's optimizer that workers compute: the last one that came."""

    def __init__(self) -> None:
        self.rate = keras.Variable(0.0, trainable=False)

    def __call__(self, step: Tensor) -> Any:
        del step
        return self.rate

    def get_config(self) -> dict[str, Any]:
        """Nothing: it comes with the pushes."""
        return {}


def is_of_script(optimizer: Optimizer) -> bool:
    """Whether an optimizer's rate is computed by code that servers do not have."""
    rate = rate_source(optimizer)
    own = type(rate).__module__.startswith("keras.")
    return callable(rate) and not (own or isinstance(rate, keras.Variable))


def is_served(config: Mapping[str, Any]) -> bool:
    """Whether a server follows the schedule of an optimizer of this configuration."""
    rate = config["config"].get("learning_rate")
    return isinstance(rate, Mapping) and rate["class_name"] != SentRate.__name__


def schedule(config: Mapping[str, Any]) -> Callable[[int], float]:
    """Returns the rate as a function of the version, where a server follows it."""
    made = keras.optimizers.schedules.deserialize(
        copy.deepcopy(config["config"]["learning_rate"])
    )
    return lambda version: float(made(version))


def computed(optimizer: Optimizer) -> Any:
    """Returns the rate of the next step, float64 scalar; NaN where it is a number.

    In a step that is traced it is computed as Keras does, each time anew.
    """
    if isinstance(rate_source(optimizer), keras.Variable):
        return tf.constant(math.nan, tf.float64)
    return tf.cast(optimizer.learning_rate, tf.float64)


def of_number(optimizer: Optimizer) -> float:
    """Returns an optimizer's learning rate where it is a number, else NaN."""
    rate = rate_source(optimizer)
    return float(rate.numpy()) if isinstance(rate, keras.Variable) else math.nan


def write(optimizer: Optimizer, rate: float) -> None:
    """Gives a server's optimizer its rate, unless it follows a schedule itself."""
    own = rate_source(optimizer)
    if isinstance(own, SentRate):
        own.rate.assign(rate)
    elif isinstance(own, keras.Variable):
        own.assign(rate)
