"""Learning rate and accumulation, where the user asks for them to be changed."""

from __future__ import annotations

from typing import Any

import keras

from fdtcore import voice
from fdtcore.process import Process
from hfdt.options import Options


def prepare(optimizer: Any, options: Options, process: Process) -> None:
    """Gives an optimizer the rate and the accumulation that were chosen.

    Args:
        optimizer: An optimizer that has made no step yet.
        options: The choices.
        process: This process.

    Raises:
        ValueError: The optimizer has a schedule, or is built, or accumulates already.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scale = options.scale(process.size)
    if scale != 1.0:
        rate = _plain_rate(inner)
        inner.learning_rate = rate * scale
        voice.say(
            process, f"learning rate {rate:g} * {scale:g} = {rate * scale:g} (lr_scale)"
        )
    if options.accumulate > 1:
        if inner.built or inner.gradient_accumulation_steps:
            raise ValueError(
                "accumulate needs an optimizer that is new and does not accumulate "
                f"by itself. Received: {inner.name!r}. Set gradient_accumulation_steps "
                "where you make it instead."
            )
        inner.gradient_accumulation_steps = options.accumulate


def _plain_rate(optimizer: Any) -> float:
    if not isinstance(optimizer._learning_rate, keras.Variable):
        raise ValueError(
            "lr_scale needs a learning rate that is a number. Received: "
            f"{type(optimizer._learning_rate).__name__}. Scale the schedule where you "
            "make it instead."
        )
    return float(optimizer.learning_rate)


class WarmUp(keras.callbacks.Callback):
    """Raises the learning rate linearly to the scaled one.

    With R the scaled rate, s the scale and p the part of the warm-up that is over::

        rate = R / s * (1 + p * (s - 1))

    Args:
        scale: s.
        epochs: Length of the warm-up.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677,
    sec. 2.2 (gradual warmup).
    """

    def __init__(self, scale: float, epochs: float):
        super().__init__()
        self.scale, self.epochs = scale, epochs
        self._rate = 0.0
        self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        if not self.params.get("steps"):
            raise ValueError(
                "warmup_epochs needs to know the steps of an epoch. Received: data of "
                "unknown length. Pass steps_per_epoch to fit."
            )
        self._rate = float(self.model.optimizer.learning_rate)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del logs
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del logs
        done = (self._epoch + batch / self.params["steps"]) / self.epochs
        if done <= 1 + 1 / self.params["steps"]:
            factor = (1 + min(done, 1.0) * (self.scale - 1)) / self.scale
            self.model.optimizer.learning_rate = self._rate * factor
