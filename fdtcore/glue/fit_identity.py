"""The identity of a ``fit``: its data and arguments, told from those of another."""

from __future__ import annotations

import inspect
import itertools
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from fdtcore.glue import keras_internals
from fdtcore.glue.fit_run import begin_anew, sources_of
from fdtcore.keras_types import Model

_SAMPLED_BYTES = 1 << 20

# What Keras makes an adapter of the training data with.
_DATA = ("x", "y", "sample_weight", "batch_size", "steps_per_epoch", "class_weight")


def specification(arguments: dict[str, Any], last: Any = None) -> Any:
    """Returns the specification of a batch of a fit's training data.

    Args:
        arguments: Of the call, by name.
        last: A batch of a generator, which has no specification.
    """
    if last is not None:
        return tree.map_structure(tf.convert_to_tensor, last)
    given = {name: arguments[name] for name in _DATA}
    adapter = keras_internals.data_adapters.get_data_adapter(**given)
    return adapter.get_tf_dataset().element_spec


def pass_over(arguments: dict[str, Any], at: dict[str, Any]) -> Any:
    """Leaves data as a fit that is over has left them.

    Args:
        arguments: Of the call, by name.
        at: Where the fit was in its data.

    Returns:
        The last batch of a generator; None of any other data.
    """
    begin_anew(at["made"], sources_of(arguments))
    data, last = arguments["x"], None
    if inspect.isgenerator(data) and at["consumed"]:
        last = next(itertools.islice(data, at["consumed"] - 1, None), None)
    return last


def described(model: Model, arguments: dict[str, Any]) -> dict[str, str]:
    """Says what tells a fit from another one: a text for each thing."""
    names = ("batch_size", "steps_per_epoch", "epochs", "initial_epoch")
    return {
        "model": type(model).__name__,
        "data": _data(arguments["x"]),
        "targets": _data(arguments["y"]),
        "sample weights": _data(arguments["sample_weight"]),
        "steps_per_execution": str(model.steps_per_execution),
        **{name: str(arguments[name]) for name in names},
    }


def _data(data: Any) -> str:
    if data is None:
        return "none"
    if isinstance(data, tf.data.Dataset):
        return f"{data.element_spec}"
    if isinstance(data, keras.utils.PyDataset) or inspect.isgenerator(data):
        return type(data).__name__
    try:
        return ", ".join(map(_array, tree.flatten(data)))
    except (TypeError, ValueError):
        return type(data).__name__


def _array(leaf: Any) -> str:
    """Describes an array by its shape, its type and a checksum of some of its rows."""
    array = np.asarray(leaf)
    if not array.ndim or array.dtype.hasobject:
        return type(leaf).__name__
    rows = max(1, min(len(array), _SAMPLED_BYTES * len(array) // max(array.nbytes, 1)))
    sample = np.ascontiguousarray(array[:: max(1, len(array) // rows)])
    shape = "x".join(map(str, array.shape))
    return f"{shape} {array.dtype} {zlib.crc32(sample.tobytes()):08x}"
