"""Marks: what a framework knows of a batch, carried with it to its step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import tree

from fdtcore.keras_types import Structure

# Keys that no batch of a user's has.
_MARK, _BATCH = "fdtcore mark", "fdtcore batch"


def marked(mark: tf.Tensor, batch: Structure) -> dict[str, Any]:
    """Returns a batch together with its mark, as one element of a data set."""
    return {_MARK: mark, _BATCH: batch}


def unmarked(data: Structure) -> tuple[tf.Tensor | None, Any]:
    """Takes apart what :func:`marked` has put together.

    Args:
        data: A batch, marked or not; or a tuple whose first value is marked, as
            ``train_on_batch`` makes it.

    Returns:
        Its mark, None where it has none, and the user's own batch.
    """
    if isinstance(data, dict) and _MARK in data:
        return data[_MARK], tree.lists_to_tuples(data[_BATCH])
    if isinstance(data, tuple) and data and isinstance(data[0], dict):
        mark, first = unmarked(data[0])
        return mark, (first, *data[1:])
    return None, data
