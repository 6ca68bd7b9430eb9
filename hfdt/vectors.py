"""Gradients as one vector, and back: one operation for all, not one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# TensorFlow shares the memory of a slice whose ends are aligned, else copies it.
_ALIGNMENT_BYTES = 64


class Vector(NamedTuple):
    """Tensors of one type, one behind the other."""

    places: list[int]  # of the tensors among those that were given
    values: tf.Tensor  # [n]

    def pieces(
        self, values: tf.Tensor, like: Sequence[tf.Tensor]
    ) -> dict[int, tf.Tensor]:
        """Takes a vector of this one's order apart.

        Args:
            values: The vector, [n].
            like: The tensors that were given to :func:`vectors`.

        Returns:
            By place a tensor of the shape of the one that was given.
        """
        found, start = {}, 0
        for place in self.places:
            stop = start + _size(like[place])
            found[place] = tf.reshape(values[start:stop], _shape(like[place]))
            start = stop
        return found


def vectors(tensors: Sequence[tf.Tensor]) -> list[Vector]:
    """Joins tensors to one vector for each of their types.

    What begins and ends at aligned addresses comes first, so that no piece of it is
    copied when the vector is taken apart.
    """
    found = []
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        places = [i for i, t in enumerate(tensors) if t.dtype == dtype]
        places.sort(key=lambda i: not _is_aligned(tensors[i]))
        flat = [tf.reshape(tensors[i], [-1]) for i in places]
        found.append(Vector(places, tf.concat(flat, 0) if flat[1:] else flat[0]))
    return found


def made_order(places: Sequence[int], tensors: Sequence[tf.Tensor]) -> list[int]:
    """Returns places of gradients in the order in which a backward pass makes them.

    A graph holds operations in the order in which the program has added them, which is
    alike on all ranks. Where there is no graph, or each gradient was worked on after
    the pass, one variable after the other, the last variable's gradient is the first.

    Args:
        places: Those of the gradients that are to be put in order, ascending.
        tensors: All gradients, in the order of their variables.
    """
    backwards = list(reversed(places))
    if tf.executing_eagerly():
        return backwards
    graph = tf.compat.v1.get_default_graph()
    numbers = {operation.name: i for i, operation in enumerate(graph.get_operations())}

    def made(place: int) -> int:
        tensor = tensors[place]
        is_here = tf.is_symbolic_tensor(tensor) and tensor.graph is graph
        return numbers[tensor.op.name] if is_here else -1  # it is there already

    in_order = sorted(places, key=made)
    return backwards if in_order == list(places) else in_order


def buckets(
    places: Sequence[int], tensors: Sequence[tf.Tensor], num_bytes: int
) -> list[list[int]]:
    """Returns which tensors travel together, in the order of ``places``.

    Args:
        places: Those of the tensors that travel, the first to leave first.
        tensors: All of them.
        num_bytes: How many are enough for a bucket; 0: all travel together.
    """
    if not num_bytes or not places:
        return [sorted(places)] if places else []
    found: list[list[int]] = [[]]
    held_bytes = 0
    for place in places:
        if held_bytes >= num_bytes:
            found.append([])
            held_bytes = 0
        found[-1].append(place)
        size = tensors[place].shape.num_elements()  # None where it is not known yet
        held_bytes += num_bytes if size is None else size * tensors[place].dtype.size
    return [sorted(bucket) for bucket in found]


def _is_aligned(tensor: tf.Tensor) -> bool:
    size = tensor.shape.num_elements()
    return size is not None and size * tensor.dtype.size % _ALIGNMENT_BYTES == 0


def _shape(tensor: tf.Tensor) -> tf.TensorShape | tf.Tensor:
    shape = tensor.shape
    return shape if shape.is_fully_defined() else tf.shape(tensor)


def _size(tensor: tf.Tensor) -> int | tf.Tensor:
    size = tensor.shape.num_elements()
    return tf.size(tensor) if size is None else size
