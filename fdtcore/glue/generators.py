"""Data sets of what Python code yields, without TensorFlow's ``from_generator``.

Once a process has read from a ``GeneratorDataset``, each buffer of 128 KiB or more is
mapped and unmapped by the kernel in every step, of whatever the process computes
(:mod:`fdtcore.allocator`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore.keras_types import Structure, Tensor


def from_generator(
    make: Callable[[], Iterable[Any]], signature: Structure
) -> tf.data.Dataset:
    """Returns a data set of what a function's iterators yield.

    An iterator is made when the first element of a pass is asked for. A data set has
    one pass at a time: the next one ends it.

    Args:
        make: Returns the iterator of one pass.
        signature: Structure of type specifications of an element, of dictionaries,
            tuples and leaves, as for ``tf.data.Dataset.from_generator``.

    Returns:
        Data set of unknown length. What the iterator raises ends a pass with
        TensorFlow's error that holds its text, as there.
    """
    passes = _CurrentPass(make)
    specs = tf.nest.flatten(signature)
    is_dense = all(isinstance(spec, tf.TensorSpec) for spec in specs)
    read = _dense_reader if is_dense else _reader
    following = read(passes, signature)

    def elements(_: Tensor) -> tf.data.Dataset:
        # In a data set of one element, so that each pass has a number.
        number = tf.numpy_function(passes.begin, [], tf.int64)
        return following(tf.data.Dataset.from_tensors(number).repeat())

    return tf.data.Dataset.from_tensors(0).flat_map(elements)


class _CurrentPass:
    """The iterator of the latest pass over a data set.

    Args:
        make: Returns the iterator of one pass.
    """

    def __init__(self, make: Callable[[], Iterable[Any]]):
        self._make = make
        self._number = 0
        self._iterator: Iterator[Any] = iter(())

    def begin(self) -> np.int64:
        """Begins a pass; returns its number."""
        self._iterator = iter(self._make())
        self._number += 1
        return np.int64(self._number)

    def next(self, number: int) -> Any:
        """Returns the next element of a pass.

        Raises:
            StopIteration: The pass has ended, or a later one has begun.
        """
        if number != self._number:
            raise StopIteration
        return next(self._iterator)


_Reader = Callable[[tf.data.Dataset], tf.data.Dataset]


def _dense_reader(passes: _CurrentPass, signature: Structure) -> _Reader:
    """Returns what maps numbers of a pass to its elements, which are tensors."""
    specs = tf.nest.flatten(signature)
    nothing = [_empty(spec) for spec in specs]

    def taken(number: np.int64) -> list[Any]:
        try:
            element = passes.next(int(number))
        except StopIteration:
            return [np.bool_(False), *nothing]
        leaves = _leaves(signature, element)
        return [np.bool_(True), *map(_array, leaves, specs)]

    def read(number: Tensor) -> Any:
        types = [tf.bool, *(spec.dtype for spec in specs)]
        has_value, *leaves = tf.numpy_function(taken, [number], types)
        has_value.set_shape([])
        for leaf, spec in zip(leaves, specs, strict=True):
            leaf.set_shape(spec.shape)
        return has_value, tf.nest.pack_sequence_as(signature, leaves)

    def following(numbers: tf.data.Dataset) -> tf.data.Dataset:
        found = numbers.map(read).take_while(lambda has_value, element: has_value)
        return found.map(lambda has_value, element: element)

    return following


def _reader(passes: _CurrentPass, signature: Structure) -> _Reader:
    """Returns what maps numbers of a pass to its elements, of any type."""
    specs = tf.nest.flatten(signature)
    optional = tf.experimental.Optional

    def taken(number: Tensor) -> Any:
        try:
            element = passes.next(int(number))
        except StopIteration:
            return optional.empty(signature)
        leaves = map(_value, _leaves(signature, element), specs)
        return optional.from_value(tf.nest.pack_sequence_as(signature, list(leaves)))

    def read(number: Tensor) -> Any:
        return tf.py_function(taken, [number], tf.OptionalSpec(signature))

    def following(numbers: tf.data.Dataset) -> tf.data.Dataset:
        found = numbers.map(read).take_while(lambda element: element.has_value())
        return found.map(lambda element: element.get_value())

    return following


def _leaves(signature: Structure, element: Structure) -> list[Any]:
    """Returns the leaves of an element; what a leaf itself consists of is kept.

    Raises:
        TypeError: The element's structure is not the signature's.
    """
    found: list[Any] = []

    def add(spec: Structure, part: Structure) -> None:
        if isinstance(spec, dict):
            if set(spec) != set(part):
                raise ValueError
            for key in sorted(spec):  # the order of ``tf.nest``
                add(spec[key], part[key])
        elif isinstance(spec, list | tuple):
            for one, other in zip(spec, part, strict=True):
                add(one, other)
        else:
            found.append(part)

    try:
        add(signature, element)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(
            "a batch must have the structure of the first ones, "
            f"{signature}. Received: {element}."
        ) from error
    return found


def _array(value: Any, spec: tf.TensorSpec) -> np.ndarray:
    """Returns a value as an array of a specification's type.

    Raises:
        TypeError: The value cannot be converted, or has another shape.
    """
    try:
        # Strings are objects there: arrays of a fixed width lose zeros at the end.
        array = np.asarray(value, spec.dtype.as_numpy_dtype, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"a batch must consist of {spec.dtype.name}. Received: {value!r}."
        ) from error
    if not spec.shape.is_compatible_with(array.shape):
        raise TypeError(_SHAPE.format(expected=spec.shape, shape=array.shape))
    return array


def _value(value: Any, spec: tf.TypeSpec) -> Any:
    """Returns a value of a specification's type.

    Raises:
        TypeError: The value is of another type, or has another shape.
    """
    if isinstance(spec, tf.TensorSpec):
        value = tf.convert_to_tensor(value, spec.dtype)
        if not spec.shape.is_compatible_with(value.shape):
            raise TypeError(_SHAPE.format(expected=spec.shape, shape=value.shape))
    elif not spec.is_compatible_with(value):
        raise TypeError(f"a batch must consist of {spec}. Received: {value}.")
    return value


def _empty(spec: tf.TensorSpec) -> np.ndarray:
    """Returns an array that stands where there is no element."""
    shape = [] if spec.shape.rank is None else [size or 0 for size in spec.shape]
    value = b"" if spec.dtype == tf.string else 0
    return np.full(shape, value, spec.dtype.as_numpy_dtype)


_SHAPE = "a batch must have shape {expected}. Received: shape {shape}."
