"""The sum of compressed gradients over the ranks, and what it has saved."""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fdtcore.compression.compressor import Compressor
from fdtcore.compression.exchange import Message
from fdtcore.compression.layout import Vector
from fdtcore.compression.top_k import SparseCompressor
from hfdt.communicator import HorovodCommunicator
from hfdt.ring_bytes import ring_bytes, sent_bytes

# The first steps of a job go as whole vectors, so that their time is known.
_DENSE_STEPS = 12
# Of the times of steps for a median: the fewest that tell, the most that are kept.
_FEWEST_TIMES, _MOST_TIMES = 8, 1000


class HorovodExchange:
    """What compressors do among the ranks, by Horovod; counts what is sent.

    Args:
        communicator: Operations among the ranks.
        name: Of the operations.
    """

    def __init__(self, communicator: HorovodCommunicator, name: str):
        self.size = communicator.size
        self.sent_bytes = 0.0  # by this rank, in a ring
        self.took_s = 0.0
        self._communicator, self._name = communicator, name

    def sum(self, vector: Vector) -> Vector:
        """Returns the sum over the ranks, the same bit by bit on all."""
        self.sent_bytes += ring_bytes(vector.nbytes, self.size)
        name = f"{self._name}.{len(vector)}"
        with self._timed():
            total = self._communicator.sum([tf.constant(vector)], name)
            found: Vector = total[0].numpy()
        return found

    def gather(self, message: Message) -> Sequence[Message]:
        """Returns the messages of all ranks, by rank."""
        own_bytes = sum(one.nbytes for one in message)
        self.sent_bytes += sent_bytes("allgather", own_bytes, self.size)
        with self._timed():
            own = np.concatenate([one.view(np.uint8) for one in message])
            name = f"{self._name}.messages"
            joined = self._communicator.allgather([tf.constant(own)], name)[0].numpy()
        ends = np.cumsum([one.nbytes for one in message])[:-1]
        return [
            tuple(
                part.view(one.dtype)
                for part, one in zip(np.split(bytes_of, ends), message, strict=True)
            )
            for bytes_of in np.split(joined, self.size)
        ]

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begun_s = time.perf_counter()
        yield
        self.took_s += time.perf_counter() - begun_s


class Saved(NamedTuple):
    """What steps have taken beside dense ones."""

    sent_bytes: float
    dense_bytes: float  # that they would have sent
    step_s: float  # median; NaN where none is known
    dense_step_s: float


class CompressedSum:
    """The compressed gradients of some variables of one optimizer.

    Args:
        compressor: Of these variables.
        density: Returns the part of the elements that is sent now; None where all
            steps send alike.
    """

    def __init__(
        self, compressor: Compressor, density: Callable[[int], float] | None = None
    ):
        self.compressor = compressor
        self._density = density
        self._gradient: Vector | None = None
        self._taken = 0  # by this process
        self._times_s: dict[bool, list[float]] = {False: [], True: []}
        self._begun: tuple[float, bool, float] | None = None
        self._sent_bytes = self._dense_bytes = 0.0

    def __call__(
        self,
        gradients: Sequence[tf.Tensor],
        scale: tf.Tensor | None,
        communicator: HorovodCommunicator,
        name: str,
    ) -> list[tf.Tensor]:
        """Returns what is now applied of the sums over the ranks.

        Args:
            gradients: This rank's addends, of the layout's shapes.
            scale: What the loss was multiplied by, which differs between steps.
            communicator: Operations among the ranks.
            name: Of the operations.
        """
        given = [tf.cast(g, tf.float32) for g in gradients]
        # What is kept is of no scale.
        given.append(tf.cast(1.0 if scale is None else scale, tf.float32))
        reduce = functools.partial(self._reduce, communicator, name)
        if tf.executing_eagerly():
            total = tf.constant(reduce(*(one.numpy() for one in given)))
        else:
            total = tf.numpy_function(reduce, given, tf.float32)
            total = tf.ensure_shape(total, [self.compressor.layout.size])
        if scale is not None:
            total *= tf.cast(scale, tf.float32)
        return [
            tf.cast(tf.reshape(total[start:stop], shape), g.dtype)
            for g, shape, (start, stop) in zip(
                gradients,
                self.compressor.layout.shapes,
                self.compressor.layout.ranges,
                strict=True,
            )
        ]

    def _reduce(
        self, communicator: HorovodCommunicator, name: str, *given: Vector
    ) -> Vector:
        gradient = self._joined(given[:-1], given[-1])
        compressor, size = self.compressor, communicator.size
        if self._density is not None and isinstance(compressor, SparseCompressor):
            compressor.density = self._density(int(compressor.steps[0]))
        dense_bytes = ring_bytes(gradient.nbytes, size)
        gathered = compressor.message_bytes() * (size - 1)
        # Counted over all lives of a job: on several ranks the two ways round apart.
        is_first = compressor.steps[0] < _DENSE_STEPS
        is_dense = bool(is_first) or gathered >= dense_bytes > 0
        begun_s = time.perf_counter()
        self._note_interval(begun_s)
        exchange = HorovodExchange(communicator, name)
        total = compressor.reduce(gradient, exchange, dense=is_dense)
        took_s = time.perf_counter() - begun_s
        communicator.note_work(name, time.time() - took_s, time.time())
        own_s = took_s - exchange.took_s
        was_dense = exchange.sent_bytes >= dense_bytes
        self._begun = begun_s, was_dense, own_s if was_dense else 0.0
        self._sent_bytes += exchange.sent_bytes
        self._dense_bytes += dense_bytes
        self._taken += 1
        return total

    def _joined(self, gradients: Sequence[Vector], scale: Vector) -> Vector:
        """Returns gradients as one vector, which is written again at the next step."""
        if self._gradient is None:
            # Once: the pages of a new one cost more than what is copied.
            self._gradient = np.empty(self.compressor.layout.size, np.float32)
        for one, (start, stop) in zip(
            gradients, self.compressor.layout.ranges, strict=True
        ):
            part, values = self._gradient[start:stop], one.reshape(-1)
            if scale == 1:
                np.copyto(part, values)
            else:
                with np.errstate(all="ignore"):  # of what is not finite, all hear
                    np.divide(values, scale, out=part)
        return self._gradient

    def _note_interval(self, now_s: float) -> None:
        """Notes how long the step before has taken; what was compressed in vain not."""
        if self._begun is None or self._taken < 2:
            return  # the first ones are traced, and wait for other ranks
        begun_s, was_dense, in_vain_s = self._begun
        times_s = self._times_s[was_dense]
        times_s.append(now_s - begun_s - in_vain_s)
        del times_s[:-_MOST_TIMES]

    def pause(self) -> None:
        """Notes that no step follows at once."""
        self._begun = None

    @property
    def saved(self) -> Saved:
        """What steps have taken so far, beside dense ones."""
        medians = [
            statistics.median(one) if len(one) >= _FEWEST_TIMES else math.nan
            for one in (self._times_s[False], self._times_s[True])
        ]
        return Saved(self._sent_bytes, self._dense_bytes, *medians)


def line(saved: Saved) -> str:
    """Says what compression has saved beside dense gradients."""
    part = saved.sent_bytes / saved.dense_bytes
    text = f"compression: sent 1/{1 / part:.3g} of the bytes of dense gradients"
    ratio = saved.step_s / saved.dense_step_s
    if math.isnan(ratio):
        return f"{text}; too few steps to compare their times."
    times = f"{saved.step_s * 1e3:.3g} ms, {saved.dense_step_s * 1e3:.3g} ms"
    text += f"; a step took {ratio:.2f} of a dense one ({times})"
    if ratio >= 1:
        return f"{text}. It does not pay here: leave --compression out."
    return f"{text}."
