"""The reduction of every rank's gradients to the gradient of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from fdtcore.glue import indexed_slices, keras_internals, state
from fdtcore.keras_types import Gradient, Optimizer, Variable
from hfdt.communicator import HorovodCommunicator
from hfdt.compressed_sum import CompressedSum
from hfdt.compression import Compression, loss_scale
from hfdt.options import Options
from hfdt.vectors import buckets, made_order, vectors

# What Horovod can add up; narrower floats travel as float32.
_REDUCIBLE = (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64)
_WIRE = {"fp16": tf.float16, "bf16": tf.bfloat16}


class Reduced(NamedTuple):
    """What :class:`Reduction` returns."""

    gradients: list[Any]  # one for each variable; None where the rank gave None
    # This rank's addends, for naming what was not finite; made when they are asked for.
    weighted: Callable[[], list[Any]]
    # Tensors that hold all elements of ``gradients``, perhaps fewer of them.
    checked: list[tf.Tensor]
    complete: Any  # bool tensor or True: whether ``gradients`` is of all ranks
    compressed: list[Any]  # variables of which only a part was sent


class _Compressed(NamedTuple):
    """The gradients of which a part is sent."""

    optimizer: Optimizer
    places: list[int]  # among those that are reduced
    sum: CompressedSum | None  # None where there are none


class Reduction:
    """Sums weighted gradients over the ranks.

    Args:
        communicator: Operations among the ranks.
        options: The type of what is sent, and mean or Adasum.
        compression: Sends a part of large gradients; None: all are sent whole.
    """

    def __init__(
        self,
        communicator: HorovodCommunicator,
        options: Options,
        compression: Compression | None = None,
    ):
        self._ranks, self._options = communicator, options
        self._compression = compression

    def __call__(
        self,
        optimizer: Optimizer,
        gradients: list[Any],
        variables: list[Any],
        share: tf.Tensor,
        name: str,
    ) -> Reduced:
        """Reduces the gradients of one call of ``optimizer.apply``.

        Of new values that stand in place of gradients the largest of all ranks' counts;
        they are neither weighted nor accumulated here.

        Args:
            optimizer: The optimizer; it may accumulate gradients itself.
            gradients: A tensor, an array, ``IndexedSlices`` or None for each variable.
            variables: Variables of the gradients, in the same order.
            share: Weight of this rank's gradients, float32 scalar.
            name: Name of the operation on the wire.

        Raises:
            TypeError: A gradient is of a type that cannot be added up.
        """
        gradients = [_tensor(g, v) for g, v in zip(gradients, variables, strict=True)]
        for gradient, variable in zip(gradients, variables):
            _check(gradient, variable)
        values = self._largest(gradients, variables, share, f"{name}.largest")
        gradients = [None if i in values else g for i, g in enumerate(gradients)]
        present = [g for g in gradients if g is not None]
        held_by = [v for g, v in zip(gradients, variables) if g is not None]
        how = None
        if self._compression is not None:
            found = self._compression.of(optimizer, held_by, present)
            how = _Compressed(optimizer, *found)
        weight = share if self._options.op == "mean" else None

        def weighted() -> list[Any]:
            return [_weighted(g, weight) for g in present]

        steps = getattr(optimizer, "gradient_accumulation_steps", None)
        if steps:
            held = [
                keras_internals.accumulated(optimizer, v)
                for g, v in zip(gradients, variables, strict=True)
                if g is not None
            ]
            own = [tf.convert_to_tensor(g) for g in weighted()]
            last = (keras_internals.call_count(optimizer) + 1) % steps == 0
            reduced = tf.cond(
                last,
                lambda: self._with_held(own, held, name, how),
                lambda: [tf.identity(g) for g in own],
            )
            checked = reduced
        else:
            last, (reduced, checked) = True, self._all(present, weight, name, how)
        each = iter(reduced)
        whole = [None if g is None else next(each) for g in gradients]
        for place, value in values.items():
            whole[place] = value
        checked = [*checked, *values.values()]
        compressed = [held_by[i] for i in how.places] if how else []
        return Reduced(whole, weighted, checked, last, compressed)

    def _largest(
        self, gradients: list[Any], variables: list[Any], share: tf.Tensor, name: str
    ) -> dict[int, tf.Tensor]:
        """Returns place -> new value of the variables that take one, of all ranks."""
        places = [
            i
            for i, (g, v) in enumerate(zip(gradients, variables, strict=True))
            if g is not None and state.is_overwritten(v)
        ]
        # What a rank without samples has seen counts for nothing.
        own = [
            tf.where(share > 0, gradients[i], gradients[i].dtype.min) for i in places
        ]
        return dict(zip(places, self._ranks.maximum(own, name), strict=True))

    def _with_held(
        self, gradients: list[Any], held: list[Any], name: str, how: _Compressed | None
    ) -> list[Any]:
        """Reduces what the optimizer has accumulated on this rank along with the last.

        The optimizer adds what it holds to what it is given, so it is left with none.
        """
        total = [g + h.value for g, h in zip(gradients, held, strict=True)]
        reduced, _ = self._all(total, None, name, how)
        with tf.control_dependencies(reduced):
            for accumulator in held:
                accumulator.assign(tf.zeros(accumulator.shape, accumulator.dtype))
        return reduced

    def _all(
        self,
        gradients: list[Any],
        weight: tf.Tensor | None,
        name: str,
        how: _Compressed | None,
    ) -> tuple[list[Any], list[tf.Tensor]]:
        """Returns the reduced gradients, and tensors that hold all their elements."""
        if how is None or self._compression is None:
            return self._whole(gradients, weight, name)
        own = [_weighted(g, weight) for g in gradients]
        own = self._compression.clipped(own, how.optimizer, self._ranks.size)
        reduced: dict[int, Any] = {}
        # First: it has a state, and TensorFlow keeps such operations in their order, so
        # it would wait for what observers are told of the others.
        if how.sum is not None:
            sums = how.sum(
                [own[i] for i in how.places],
                loss_scale(how.optimizer),
                self._ranks,
                f"{name}.compressed",
            )
            reduced |= zip(how.places, sums, strict=True)
        # Where one element is not finite, none is.
        first = [tf.reshape(s, [-1])[:1] for s in reduced.values()]
        rest = [i for i in range(len(own)) if i not in set(how.places)]
        wholes, checked = self._whole([own[i] for i in rest], None, name)
        reduced |= zip(rest, wholes, strict=True)
        checked = [*checked, *first]
        return [reduced[i] for i in range(len(own))], checked

    def _whole(
        self, gradients: list[Any], weight: tf.Tensor | None, name: str
    ) -> tuple[list[Any], list[tf.Tensor]]:
        """Reduces gradients of which all is sent; returns what `_all` returns."""
        sparse = [i for i, g in enumerate(gradients) if isinstance(g, tf.IndexedSlices)]
        dense = [i for i in range(len(gradients)) if i not in set(sparse)]
        reduced: dict[int, Any] = {}
        if self._options.op == "adasum":
            checked = self._ranks.adasum([gradients[i] for i in dense], name)
            reduced |= zip(dense, checked, strict=True)
        else:
            checked = []
            leaving = made_order(dense, gradients)
            for bucket in buckets(leaving, gradients, self._options.bucket_bytes):
                given = [gradients[i] for i in bucket]
                joined = vectors(given)
                own = [_weighted(vector.values, weight) for vector in joined]
                wire = f"{name}.{bucket[0]}" if self._options.bucket_bytes else name
                sums = self._sums(own, wire)
                for vector, total in zip(joined, sums, strict=True):
                    for place, piece in vector.pieces(total, given).items():
                        reduced[bucket[place]] = piece
                checked += sums
        for i in sparse:
            rows = _weighted(gradients[i], weight)
            reduced[i] = self._sparse(rows, f"{name}.rows.{i}")
            checked.append(reduced[i].values)
        return [reduced[i] for i in range(len(gradients))], checked

    def _sums(self, gradients: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        if self._options.compression in _WIRE and gradients:
            return self._narrowed(gradients, name)
        types = [g.dtype for g in gradients]
        wide = [
            g if g.dtype in _REDUCIBLE else tf.cast(g, tf.float32) for g in gradients
        ]
        sums = self._ranks.sum(wide, name)
        return [tf.cast(s, t) for s, t in zip(sums, types, strict=True)]

    def _narrowed(self, gradients: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sends 16 bits an element and adds up in float32.

        Each rank receives one slice of everybody's gradient, sums it, and sends the
        sum to all: the bytes of a ring allreduce, with two roundings in all.
        """
        size = self._ranks.size
        flat = tf.concat(
            [tf.reshape(tf.cast(g, tf.float32), [-1]) for g in gradients], 0
        )
        length = tf.size(flat)
        part = -(-length // size)
        flat = tf.pad(flat, [[0, part * size - length]])
        received = self._ranks.alltoall(
            self._narrow(flat), tf.fill([size], part), f"{name}.parts"
        )
        total = tf.reduce_sum(tf.reshape(self._wide(received), [size, part]), 0)
        joined = self._ranks.allgather([self._narrow(total)], f"{name}.sums")[0]
        pieces = tf.split(self._wide(joined)[:length], [tf.size(g) for g in gradients])
        return [
            tf.cast(tf.reshape(p, tf.shape(g)), g.dtype)
            for p, g in zip(pieces, gradients, strict=True)
        ]

    def _narrow(self, tensor: tf.Tensor) -> tf.Tensor:
        # Bits of bfloat16 travel as uint16, which Horovod knows.
        narrow = tf.cast(tensor, _WIRE[self._options.compression])
        return tf.bitcast(narrow, tf.uint16) if narrow.dtype == tf.bfloat16 else narrow

    def _wide(self, tensor: tf.Tensor) -> tf.Tensor:
        if tensor.dtype == tf.uint16:
            tensor = tf.bitcast(tensor, tf.bfloat16)
        return tf.cast(tensor, tf.float32)

    def _sparse(self, gradient: tf.IndexedSlices, name: str) -> tf.IndexedSlices:
        """Joins the rows of all ranks; a row that several name is sent once by each."""
        own = indexed_slices.summed(gradient)
        values = self._ranks.allgather([own.values], f"{name}.values")[0]
        indices = self._ranks.allgather([own.indices], f"{name}.indices")[0]
        return indexed_slices.summed(tf.IndexedSlices(values, indices, own.dense_shape))


def _tensor(gradient: Gradient, variable: Variable) -> Any:
    # Keras takes arrays as well, of any float type.
    if gradient is None or isinstance(gradient, tf.Tensor | tf.IndexedSlices):
        return gradient
    return tf.convert_to_tensor(gradient, variable.dtype)


def _check(gradient: Gradient, variable: Variable) -> None:
    if gradient is None:
        return
    if not gradient.dtype.is_floating:
        raise TypeError(
            "a gradient must be of a floating type to be averaged over ranks. "
            f"Received: {gradient.dtype.name} for {_path(variable)}. Cast the variable "
            "or keep it out of the optimizer."
        )
    shape = getattr(gradient, "shape", None)
    if shape is not None and not shape.is_compatible_with(variable.shape):
        raise ValueError(
            "a gradient must have the shape of its variable. Received: "
            f"{tuple(shape)} for {_path(variable)} of shape {tuple(variable.shape)}. "
            "Pass gradients and variables in the same order."
        )


def _weighted(gradient: Gradient, share: tf.Tensor | None) -> Any:
    if share is None:
        return gradient
    # A rank without samples has share 0 and may hold any value, NaN as well.
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            _weighted(gradient.values, share), gradient.indices, gradient.dense_shape
        )
    return tf.math.multiply_no_nan(gradient, tf.cast(share, gradient.dtype))


def _path(variable: Variable) -> str:
    return getattr(variable, "path", variable.name)
