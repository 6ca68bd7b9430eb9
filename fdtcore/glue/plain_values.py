"""Plain values as JSON and arrays: numbers, texts, arrays, and lists and dicts of them.

What is read back is never code: of functions only the comparisons of ``keras.ops`` have
a name here, which callbacks of Keras keep.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore.snapshots import tensor_file

_COMPARISONS = ("less", "greater")
_DEEPEST = 20


class NotPlain(TypeError):
    """A value cannot be kept."""


class Packer:
    """Turns values into what JSON can say, and arrays beside it.

    Args:
        arrays: Receives the arrays, by name.
        prefix: Begins their names.
    """

    def __init__(self, arrays: dict[str, Any], prefix: str):
        self._arrays, self._prefix = arrays, prefix

    def pack(self, value: Any, depth: int = 0) -> Any:
        """Returns what JSON can say of a value.

        Args:
            value: What is to be kept.
            depth: How many others it lies in; one that holds itself has no end.

        Raises:
            NotPlain: The value, or one in it, cannot be kept.
        """
        kind, depth = type(value), depth + 1
        if value is None or kind in (bool, int, float, str):
            return value
        if depth > _DEEPEST:
            raise NotPlain(f"{kind.__name__} in itself")
        if kind is dict:
            pairs = value.items()
            return {"dict": [[self.pack(x, depth) for x in pair] for pair in pairs]}
        if kind in (list, tuple, set):
            return {kind.__name__: [self.pack(one, depth) for one in value]}
        for name in _COMPARISONS:
            if value is getattr(keras.ops, name):
                return {"comparison": name}
        if isinstance(value, keras.Variable | tf.Variable):
            raise NotPlain(kind.__name__)
        if isinstance(value, tf.Tensor | np.ndarray | np.generic):
            return {
                "scalar" if isinstance(value, np.generic) else "array": self._put(value)
            }
        raise NotPlain(kind.__name__)

    def _put(self, value: Any) -> str:
        array = np.array(value)
        if not tensor_file.is_known(array):
            raise NotPlain(f"array of {array.dtype}")
        name = f"{self._prefix}{len(self._arrays)}"
        self._arrays[name] = array
        return name


def unpack(value: Any, arrays: dict[str, Any], before: Any = None) -> Any:
    """Returns the value that was packed.

    Args:
        value: What JSON said of it.
        arrays: The arrays beside it, by name.
        before: What stands in its place now: a list or a dictionary is filled, because
            others may hold it.
    """
    if not isinstance(value, dict):
        return value
    [(kind, inner)] = value.items()
    if kind == "comparison":
        return getattr(keras.ops, inner) if inner in _COMPARISONS else None
    if kind == "array":
        return np.array(arrays[inner])
    if kind == "scalar":
        return arrays[inner][()]
    if kind == "dict":
        pairs = {unpack(k, arrays): unpack(v, arrays) for k, v in inner}
        if type(before) is dict:
            before.clear()
            before.update(pairs)
            return before
        return pairs
    items = [unpack(one, arrays) for one in inner]
    if kind == "list" and type(before) is list:
        before[:] = items
        return before
    return {"list": list, "tuple": tuple, "set": set}[kind](items)
