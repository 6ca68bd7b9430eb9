"""The state of Python's, NumPy's, TensorFlow's and Keras's generators of a process.

Operations of TensorFlow that draw inside of a ``tf.function`` or of a ``tf.data``
pipeline count in their kernels, which nobody can read.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore.glue import keras_internals


def state() -> dict[str, Any]:
    """Returns their state, of numbers, texts and lists."""
    numpy = np.random.get_state(legacy=False)
    draws, generator = (
        keras_internals.seed_draws(),
        keras_internals.made_seed_generator(),
    )
    return {
        "python": random.getstate(),
        "numpy": _listed(numpy),
        "seed": keras_internals.global_seed(),
        "draws": None if draws is None else draws.getstate(),
        "keras": None if generator is None else generator.state.numpy().tolist(),
    }


def restore(kept: dict[str, Any], *, of_python: bool = True) -> None:
    """Puts the generators where they were, as JSON has brought their state.

    Args:
        kept: What :func:`state` has returned.
        of_python: Whether Python's and NumPy's are among them.
    """
    if of_python:
        random.setstate(_tuples(kept["python"]))
        numpy = kept["numpy"]
        if numpy["bit_generator"] == np.random.get_state(legacy=False)["bit_generator"]:
            key = np.array(numpy["state"]["key"], np.uint32)
            np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    if kept["seed"] is not None:
        if keras_internals.global_seed() != kept["seed"]:
            tf.random.set_seed(kept["seed"])
        if kept["draws"] is not None:
            keras_internals.seed_draws().setstate(_tuples(kept["draws"]))
    if kept["keras"] is not None:
        generator = keras_internals.global_seed_generator()
        generator.state.assign(np.array(kept["keras"], np.uint32))


def seed_all(draw: Any) -> None:
    """Seeds all of them, before a program has begun."""
    random.seed(draw(31))
    np.random.seed(draw(31))
    tf.random.set_seed(draw(31))


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
