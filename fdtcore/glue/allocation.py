"""Steps reuse memory, also where TensorFlow reads data from Python code.

Its ``GeneratorDataset`` would set glibc's allocator otherwise
(:mod:`fdtcore.allocator`).
"""

from __future__ import annotations

import functools
import os
from typing import Any

import tensorflow as tf

from fdtcore import allocator
from fdtcore.keras_types import Dataset


def patch() -> None:
    """Sets the allocator before data are first read.

    Not sooner: a script may configure TensorFlow until then.
    """
    inner = tf.data.Dataset.__iter__

    @functools.wraps(inner)
    def iterate(self: Dataset) -> Any:
        _set_allocator()
        return inner(self)

    tf.data.Dataset.__iter__ = iterate


@functools.cache
def _set_allocator() -> None:
    """Sets the allocator once TensorFlow has done so."""
    if allocator.keep_freed_memory(os.environ):
        _make_generator_dataset()
        allocator.keep_freed_memory(os.environ)


def _make_generator_dataset() -> None:
    """Makes the kernel of a ``GeneratorDataset``.

    The first one of a process sets the threshold, the user's own no longer do. Those
    may be made anywhere, as in a function of ``interleave``.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        kept = tf.function(lambda state: state).get_concrete_function(
            tf.TensorSpec([], tf.int64)
        )
        tf.raw_ops.GeneratorDataset(
            init_func_other_args=[],
            next_func_other_args=[],
            finalize_func_other_args=[],
            init_func=kept,
            next_func=kept,
            finalize_func=kept,
            output_types=[tf.int64],
            output_shapes=[[]],
        )
