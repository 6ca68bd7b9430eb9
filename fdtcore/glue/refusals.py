"""The refusal of programs that TensorFlow already distributes."""

from __future__ import annotations

from typing import Any, NoReturn

import tensorflow as tf

from fdtcore.glue import keras_internals
from fdtcore.keras_types import Model
from fdtcore.process import Process


def check_strategy(process: Process, strategy: tf.distribute.Strategy | None) -> None:
    """Refuses a strategy of ``tf.distribute`` in a job of several processes.

    Args:
        process: This process: its rank, the number of ranks, its host.
        strategy: That of a model or a step; None and TensorFlow's default are fine.

    Raises:
        RuntimeError: The strategy is not TensorFlow's default one.
    """
    none = (None, keras_internals.default_strategy())
    if process.size > 1 and strategy not in none:
        _refuse(strategy)


def check_stateful(process: Process, model: Model, framework: str) -> None:
    """Refuses layers that go on from the rows of the batch before, on several ranks.

    Whatever part of a batch a rank takes, or which batch, it is not the next one of
    the rows whose state it holds.

    Args:
        process: This process: its rank, the number of ranks, its host.
        model: The user's Keras model.
        framework: Its name, for the message.

    Raises:
        ValueError: The model has such a layer.
    """
    if process.size == 1:
        return
    for layer in keras_internals.layers_of(model):
        if getattr(layer, "stateful", False) is True:
            raise ValueError(
                "a stateful layer must see all rows of all batches in their order. "
                f"Received: stateful=True in {layer.name} on {process.size} "
                "processes that train. Run the script with python, or on one process: "
                f"{framework} run -np 1."
            )


def refuse_strategies() -> None:
    """Makes a script that knows nothing of ranks end where it makes a strategy."""
    for module in (tf.distribute, tf.distribute.experimental):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, tf.distribute.Strategy):
                if kind is not tf.distribute.Strategy:
                    setattr(kind, "__init__", _refuse)  # noqa: B010


def _refuse(strategy: tf.distribute.Strategy, *args: Any, **kwargs: Any) -> NoReturn:
    del args, kwargs
    raise RuntimeError(
        "only one system may distribute a program. Received: a "
        f"{type(strategy).__name__} of tf.distribute. Remove the strategy and its "
        "scope from the script, or run it unchanged with python."
    )
