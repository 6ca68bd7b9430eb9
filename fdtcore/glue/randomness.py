"""Random numbers that must be equal on every rank: shuffles and initial weights."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fdtcore.engine import Collectives
from fdtcore.glue import keras_internals


def seeds() -> Callable[[int], int]:
    """Returns what draws random bits, from a number of bits to as many.

    It begins where Python's generator is, and leaves that alone: a program that has
    seeded it before the framework starts shuffles as it does without one.
    """
    generator = random.Random()
    generator.setstate(random.getstate())
    return generator.getrandbits


def agree(collectives: Collectives, draw: Callable[[int], int] | None = None) -> None:
    """Seeds Python's, NumPy's and TensorFlow's generators alike on all ranks.

    A generator that is already in the same state everywhere, because the program
    seeded it, is left as it is.

    Args:
        collectives: Those of the ranks.
        draw: From a number of bits to as many random ones: rank 0's are the seeds.
            None takes :func:`seeds`.
    """
    draw = draw or seeds()
    own = [
        repr(random.getstate()),
        repr(np.random.get_state(legacy=False)),
        repr(keras_internals.global_seed()),
    ]
    drawn = json.loads(collectives.broadcast_text(json.dumps([draw(31) for _ in own])))
    setters = (random.seed, np.random.seed, tf.random.set_seed)
    for name, state, seed, setter in zip(
        ("Python", "NumPy", "TensorFlow"), own, drawn, setters, strict=True
    ):
        alike = len(set(collectives.allgather_text(state))) == 1
        unseeded = name == "TensorFlow" and keras_internals.global_seed() is None
        if unseeded or not alike:
            setter(seed)
