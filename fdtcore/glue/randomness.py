"""Random numbers that must be equal on every rank: shuffles and initial weights."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fdtcore.engine import Collectives
from fdtcore.glue import keras_internals


def agree(
    collectives: Collectives, draw: Callable[[int], int] = random.getrandbits
) -> None:
    """Seeds Python's, NumPy's and TensorFlow's generators alike on all ranks.

    A generator that is already in the same state everywhere, because the program
    seeded it, is left as it is.

    Args:
        collectives: Those of the ranks.
        draw: From a number of bits to as many random ones: rank 0's are the seeds.
    """
    own = [
        repr(random.getstate()),
        repr(np.random.get_state(legacy=False)),
        repr(keras_internals.global_seed()),
    ]
    seeds = json.loads(collectives.broadcast_text(json.dumps([draw(31) for _ in own])))
    setters = (random.seed, np.random.seed, tf.random.set_seed)
    for name, state, seed, setter in zip(
        ("Python", "NumPy", "TensorFlow"), own, seeds, setters, strict=True
    ):
        alike = len(set(collectives.allgather_text(state))) == 1
        unseeded = name == "TensorFlow" and keras_internals.global_seed() is None
        if unseeded or not alike:
            setter(seed)
