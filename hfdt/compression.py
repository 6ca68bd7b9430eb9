"""The compression of gradients: of which, by what, and the optimizer's part in it."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore.compression import factory, sparsity, specification
from fdtcore.compression.layout import Layout, is_large
from fdtcore.compression.sparsity import TrainedSoFar
from fdtcore.compression.specification import Specification
from fdtcore.engine import KeptValue
from fdtcore.glue import binding, compression, state, wrappers
from fdtcore.keras_types import Optimizer, Variable
from hfdt.compressed_sum import CompressedSum, Saved, line

_COMPRESSED = (tf.float32, tf.float16, tf.bfloat16)


class Compression:
    """The compressed sums of a job, one for each optimizer and what it trains.

    Args:
        chosen: The user's choice.
        say: Says a line, once in a job.
    """

    def __init__(self, chosen: Specification, say: Callable[[str], None]):
        self._chosen, self._say = chosen, say
        # Epochs of fits so far; NaN outside of a fit.
        self.epochs_done = 0
        self.epochs = math.nan
        self._sums: weakref.WeakKeyDictionary[
            Optimizer, dict[tuple[int, ...], CompressedSum]
        ] = weakref.WeakKeyDictionary()
        self._made: list[CompressedSum] = []  # in an order that is alike on all ranks
        self._kept: list[KeptValue] = []  # of those that are yet to be made

    def of(
        self,
        optimizer: Optimizer,
        variables: Sequence[Variable],
        gradients: Sequence[Any],
    ) -> tuple[list[int], CompressedSum | None]:
        """Returns which gradients are compressed, and what does it; None: nothing.

        Args:
            optimizer: The outermost optimizer.
            variables: Variables of the gradients, in the same order.
            gradients: Tensors and ``IndexedSlices``.

        Raises:
            ValueError: The optimizer cannot be trained so.
        """
        places = [
            i
            for i, g in enumerate(gradients)
            if isinstance(g, tf.Tensor)
            and g.dtype in _COMPRESSED
            and is_large(variables[i].shape)
        ]
        compression.check(self._chosen, optimizer)
        if not places:
            return [], None
        known = self._sums.setdefault(optimizer, {})
        key = tuple(state.key(variables[i]) for i in places)
        if key not in known:
            shapes = tuple(tuple(variables[i].shape) for i in places)
            known[key] = self._new(Layout(shapes), optimizer, len(variables))
        return places, known[key]

    def _new(self, layout: Layout, optimizer: Optimizer, count: int) -> CompressedSum:
        chosen = self._chosen
        density: Callable[[int], float] | None = None
        momentum, nesterov = 0.0, False
        if chosen.kind == specification.DEEP_GRADIENT:
            (sgd,) = wrappers.steps_of(optimizer)
            momentum, nesterov = sgd.momentum, sgd.nesterov
            density = self._density
        if momentum:
            self._say(
                f"compression: the momentum {momentum:g} of SGD acts before "
                "the exchange on what is compressed (momentum correction)."
            )
        compressor = factory.compressor(
            chosen, layout, momentum=momentum, nesterov=nesterov
        )
        self._say(
            f"compression: {layout.size:,} elements of {len(layout.shapes)} of {count} "
            "gradients are compressed; small ones, vectors and rows go as they are."
        )
        made = CompressedSum(compressor, density)
        self._made.append(made)
        self._take_over(made)
        return made

    def _density(self, steps: int) -> float:
        return sparsity.density(self._chosen, TrainedSoFar(steps, self.epochs))

    # --- The optimizer's part --------------------------------------------------------

    def clipped(
        self, gradients: Sequence[Any], optimizer: Optimizer, size: int
    ) -> list[Any]:
        """Clips this rank's addends as the optimizer would clip their sum.

        With N ranks to ``N ** -0.5`` of the norm, as a sum of N independent addends
        is so much longer.

        Args:
            gradients: Tensors and ``IndexedSlices``.
            optimizer: The outermost optimizer.
            size: Number of ranks, N.

        Source: Lin et al., 2018, arXiv:1712.01887, sec. 3.2.
        """
        one = compression.clipping(self._chosen, optimizer)
        if one is None:
            return list(gradients)
        scale = loss_scale(optimizer)
        limit = (one.global_clipnorm or one.clipnorm) / math.sqrt(size)
        # Keras divides by this one before it clips.
        limit *= one.loss_scale_factor or 1.0
        limit *= 1.0 if scale is None else scale
        if one.global_clipnorm:
            norms = [tf.linalg.global_norm(list(gradients))] * len(gradients)
        else:
            norms = [tf.linalg.global_norm([g]) for g in gradients]
        return [
            _times(g, limit / tf.maximum(norm, limit))
            for g, norm in zip(gradients, norms, strict=True)
        ]

    def stepping(
        self, optimizer: Optimizer, compressed: Sequence[Variable], inner: Callable
    ) -> Callable:
        """Returns the optimizer's own ``apply``, without what was done before.

        Args:
            optimizer: The outermost optimizer.
            compressed: Variables whose gradients were compressed.
            inner: Its own ``apply``.
        """

        def apply(gradients: Any, variables: Any) -> Any:
            with contextlib.ExitStack() as stack:
                one = compression.clipping(self._chosen, optimizer)
                if one is not None:
                    for name in ("clipnorm", "global_clipnorm"):
                        stack.enter_context(binding.replaced(one, name, None))
                if self._chosen.kind == specification.DEEP_GRADIENT:
                    (sgd,) = wrappers.steps_of(optimizer)
                    step = _without_momentum(sgd, set(map(state.key, compressed)))
                    stack.enter_context(binding.replaced(sgd, "update_step", step))
                return inner(gradients, variables)

        return apply

    # --- What a snapshot keeps -------------------------------------------------------

    def state(self) -> list[KeptValue]:
        """Returns what it goes on from."""
        found = [KeptValue(None, np.array([self.epochs_done]))]
        for one in self._made:
            compressor = one.compressor
            found += [KeptValue("sum", values) for values in compressor.state.values()]
            found += [KeptValue(None, values) for values in compressor.shared.values()]
        return found + self._kept

    def give_back(self, kept: Sequence[KeptValue]) -> None:
        """Goes on from what was kept.

        Args:
            kept: What `state` has returned, of this rank.
        """
        self.epochs_done = int(kept[0].values[0])
        self._kept = list(kept[1:])
        for one in self._made:
            self._take_over(one)

    def _take_over(self, made: CompressedSum) -> None:
        compressor = made.compressor
        own = [*compressor.state.values(), *compressor.shared.values()]
        if len(self._kept) < len(own):
            return
        for values, kept in zip(own, self._kept, strict=False):
            values[...] = kept.values
        del self._kept[: len(own)]

    # --- What it has saved -----------------------------------------------------------

    def pause(self) -> None:
        """Notes that no step follows at once."""
        for one in self._made:
            one.pause()

    @property
    def saved(self) -> list[Saved]:
        """What each of the sums has taken so far, beside dense ones."""
        return [one.saved for one in self._made]

    def lines(self) -> list[str]:
        """Says what it has saved so far."""
        return [line(one) for one in self.saved if one.dense_bytes]


def loss_scale(optimizer: Optimizer) -> tf.Tensor | None:
    """Returns what the gradients of an optimizer are multiplied by, if anything."""
    for one in (optimizer, *wrappers.within(optimizer)):
        if isinstance(one, keras.optimizers.LossScaleOptimizer) and one.built:
            return tf.convert_to_tensor(one.dynamic_scale)
    return None


def _without_momentum(sgd: Any, compressed: set[int]) -> Callable:
    inner = sgd.update_step

    def update_step(gradient: Any, variable: Variable, learning_rate: Any) -> Any:
        if state.key(variable) not in compressed:
            return inner(gradient, variable, learning_rate)
        with binding.replaced(sgd, "momentum", 0.0):
            return inner(gradient, variable, learning_rate)

    return update_step


def _times(gradient: Any, factor: tf.Tensor) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        values = _times(gradient.values, factor)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)


class EpochCount(keras.callbacks.Callback):
    """Tells a compression how many epochs are over.

    Args:
        compression: Is told.
    """

    def __init__(self, compression: Compression):
        super().__init__()
        self._compression = compression

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins an epoch, in which no batch is trained yet."""
        del epoch, logs
        self._compression.epochs = float(self._compression.epochs_done)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Counts the batches before this one, where an epoch's are known."""
        del logs
        if steps := self.params.get("steps"):
            self._compression.epochs = self._compression.epochs_done + batch / steps

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Counts an epoch."""
        del epoch, logs
        self._compression.epochs_done += 1

    def on_train_end(self, logs: Any = None) -> None:
        """Says that what follows is of no epoch."""
        del logs
        self._compression.epochs = math.nan
        self._compression.pause()
