"""Learning rate and accumulation, as the user's options change them."""

from __future__ import annotations

from typing import Any

import keras

from fdtcore import output
from fdtcore.glue import keras_internals, wrappers
from fdtcore.keras_types import Logs, Optimizer
from fdtcore.process import Process
from hfdt.options import Options


def prepare(
    inner: Optimizer, options: Options, process: Process, *, whose: str = ""
) -> None:
    """Gives an optimizer the rate and the accumulation that were chosen.

    Args:
        inner: An optimizer that takes steps itself, and has made none yet.
        options: The user's options: ``lr_scale`` and ``accumulate`` are read.
        process: This process: its rank, the number of ranks, its host.
        whose: Names the optimizer where it is one of several.

    Raises:
        ValueError: The optimizer has a schedule, or is built, or accumulates already.
    """
    scale = options.scale(process.size)
    if scale != 1.0:
        rate = _plain_rate(inner)
        inner.learning_rate = rate * scale
        output.say(
            process,
            f"learning rate{whose} {rate:g} * {scale:g} = {rate * scale:g} (lr_scale)",
        )
    if options.accumulate > 1:
        if inner.built or inner.gradient_accumulation_steps:
            raise ValueError(
                "accumulate needs an optimizer that is new and does not accumulate "
                f"by itself. Received: {inner.name!r}. Set gradient_accumulation_steps "
                "where you make it instead."
            )
        inner.gradient_accumulation_steps = options.accumulate


def _plain_rate(optimizer: Optimizer) -> float:
    source = keras_internals.rate_source(optimizer)
    if not isinstance(source, keras.Variable):
        raise ValueError(
            "lr_scale needs a learning rate that is a number. Received: "
            f"{type(source).__name__}. Scale the schedule where you make it instead."
        )
    return float(optimizer.learning_rate)


class WarmUp(keras.callbacks.Callback):
    """Raises the learning rate linearly to the scaled one.

    With R the scaled rate, s the scale and p the part of the warm-up that is over::

        rate = R / s * (1 + p * (s - 1))

    Args:
        scale: Factor s that the learning rate grows to.
        epochs: Length of the warm-up.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677,
    sec. 2.2 (gradual warmup).
    """

    def __init__(self, scale: float, epochs: float):
        super().__init__()
        self.scale, self.epochs = scale, epochs
        self._rates: list[tuple[Any, float]] = []  # each optimizer's, as scaled
        self._epoch = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        del logs
        if not self.params.get("steps"):
            raise ValueError(
                "warmup_epochs needs to know the steps of an epoch. Received: data of "
                "unknown length. Pass steps_per_epoch to fit."
            )
        optimizers = wrappers.steps_of(self.model.optimizer)
        self._rates = [(one, float(one.learning_rate)) for one in optimizers]

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        del logs
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        del logs
        done = (self._epoch + batch / self.params["steps"]) / self.epochs
        if done <= 1 + 1 / self.params["steps"]:
            factor = (1 + min(done, 1.0) * (self.scale - 1)) / self.scale
            for optimizer, rate in self._rates:
                optimizer.learning_rate = rate * factor
