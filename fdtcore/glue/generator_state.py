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
    draws, generator = (
        keras_internals.seed_draws(),
        keras_internals.made_seed_generator(),
    )
    return {
        **listed(of_python()),
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
        restore_python(kept)
    if kept["seed"] is not None:
        if keras_internals.global_seed() != kept["seed"]:
            tf.random.set_seed(kept["seed"])
        if kept["draws"] is not None:
            keras_internals.seed_draws().setstate(_tuples(kept["draws"]))
    if kept["keras"] is not None:
        generator = keras_internals.global_seed_generator()
        generator.state.assign(np.array(kept["keras"], np.uint32))


def of_python() -> dict[str, Any]:
    """Returns the state of Python's and NumPy's generator, as these have it."""
    return {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}


def restore_python(kept: dict[str, Any]) -> None:
    """Puts both where they were.

    Args:
        kept: What :func:`of_python` or :func:`state` has returned, also as JSON.
    """
    random.setstate(_tuples(kept["python"]))
    numpy = kept["numpy"]
    if numpy["bit_generator"] == np.random.get_state(legacy=False)["bit_generator"]:
        key = np.array(numpy["state"]["key"], np.uint32)
        np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both generators were left alone between two calls of `of_python`."""
    return one["python"] == other["python"] and listed(one) == listed(other)


def packed(state: dict[str, Any]) -> dict[str, Any]:
    """Returns what :func:`of_python` has, with its numbers in arrays."""
    version, numbers, gauss = state["python"]
    return {**state, "python": [version, np.array(numbers, np.uint32), gauss]}


def unpacked(state: dict[str, Any]) -> dict[str, Any]:
    """Returns what :func:`packed` was given."""
    version, numbers, gauss = state["python"]
    return {**state, "python": (version, tuple(numbers.tolist()), gauss)}


def seed_all(draw: Any) -> None:
    """Seeds all of them, before a program has begun."""
    random.seed(draw(31))
    np.random.seed(draw(31))
    tf.random.set_seed(draw(31))


def listed(value: Any) -> Any:
    """Returns a state as JSON can say it."""
    if isinstance(value, dict):
        return {k: listed(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
