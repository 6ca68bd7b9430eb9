"""The step that is being traced or run."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from fdtcore.engine import Collectives
from fdtcore.glue import binding
from fdtcore.glue.keras_internals import in_xla
from fdtcore.keras_types import Model, Optimizer


class NeedsCollective(Exception):
    """A step wanted to communicate where XLA compiles it, which cannot be done."""


class Step:
    """A step that is being traced or run, on a batch of this rank's own.

    Args:
        collectives: Those of the ranks that train.
        model: The model that trains or is tested.
        num_samples: Scalar int32 tensor, samples of the batch on this rank.
    """

    def __init__(self, collectives: Collectives, model: Model, num_samples: tf.Tensor):
        self.collectives = collectives
        self.model = model
        self.num_samples = num_samples


class PartCollectives(Collectives, Protocol):
    """Collectives of ranks that share each batch."""

    def rows(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Joins each tensor's rows over the ranks, by rank."""


def share_of_samples(
    collectives: Collectives, num_samples: tf.Tensor, total: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns this rank's share of the samples of all ranks, float32 scalar.

    Args:
        collectives: Those of the ranks that share the batch.
        num_samples: Scalar integer tensor, samples on this rank.
        total: Those of all ranks, a scalar of the same type; None where this rank
            cannot know them and has to ask.
    """
    if collectives.process.size == 1:
        return tf.constant(1.0)
    if total is None:
        total = collectives.sum([num_samples], "samples")[0]
    return tf.cast(num_samples / tf.maximum(total, 1), tf.float32)


class SharedStep(Step):
    """A step on this rank's part of a batch that all ranks share.

    Args:
        collectives: Those of the ranks.
        model: The model that trains or is tested.
        num_samples: Scalar int32 tensor, samples of the part.
        total: Those of all ranks' parts; see :func:`share_of_samples`.
        kinds: What is known of the values that the step makes, in order, by the
            names of :class:`Record`; see ``combining``.
    """

    collectives: PartCollectives

    def __init__(
        self,
        collectives: PartCollectives,
        model: Model,
        num_samples: tf.Tensor,
        total: tf.Tensor | None = None,
        kinds: Mapping[str, Sequence[str]] | None = None,
    ):
        super().__init__(collectives, model, num_samples)
        self._total = total
        self._kinds = kinds or {}
        self._made: collections.Counter[str] = collections.Counter()
        self._share: tf.Tensor | None = None
        self._weighed: list[Optimizer] = []  # those whose loss is weighted already
        self._graph = _graph()

    def begin(self) -> None:
        """Counts the values that the step makes from the first one: it is traced."""
        self._made.clear()

    def next_kind(self, name: str) -> str:
        """Returns what the next value of a name is of those of parts."""
        place = self._made[name]
        self._made[name] += 1
        kinds = self._kinds.get(name, ())
        return kinds[place] if place < len(kinds) else "unknown"

    @property
    def share(self) -> tf.Tensor:
        """This rank's share of the samples of the whole batch, float32 scalar."""
        if self._share is None:
            # In the graph of the step, whichever inner function asks first.
            with self._graph() if self._graph else contextlib.nullcontext():
                self._share = share_of_samples(
                    self.collectives, self.num_samples, self._total
                )
        return self._share

    def is_share(self, share: float) -> None:
        """Takes a part for a rank's, though no rank is asked."""
        self._share = tf.constant(share, tf.float32)

    def weigh_loss(self, optimizer: Optimizer, loss: tf.Tensor) -> tf.Tensor:
        """Weighs the loss of this rank's part, in place of the gradients.

        So everything in the backward pass is of the size it has on one process.

        Args:
            optimizer: The one whose gradients need no more weights.
            loss: Loss of this rank's part, a scalar.
        """
        if in_xla():
            raise NeedsCollective("a loss weighted by this rank's share")
        self._weighed.append(optimizer)
        return loss * tf.cast(self.share, loss.dtype)

    def share_of(self, optimizer: Optimizer) -> tf.Tensor:
        """The weight of an optimizer's gradients, float32 scalar."""
        if any(optimizer is one for one in self._weighed):
            return tf.cast(self.share > 0, tf.float32)
        return self.share

    @property
    def sum_scale(self) -> tf.Tensor:
        """Factor for a loss that is a sum over samples: ``1 / share``.

        Every gradient is weighted by the share, which is right for a mean over samples;
        a sum must not be weighted.
        """
        return tf.math.divide_no_nan(1.0, self.share)


@dataclasses.dataclass
class Record:
    """What a step has made of a batch, in order, while it was watched."""

    # Calls of a loss: the loss, targets, predictions.
    losses: list[Any] = dataclasses.field(default_factory=list)
    # Losses that layers have added.
    terms: list[tf.Tensor] = dataclasses.field(default_factory=list)
    # Trackers, with what a ``Mean`` or ``Sum`` was given for the whole batch.
    scalars: list[Any] = dataclasses.field(default_factory=list)
    # Names and values of what it returns.
    logs: list[tuple[str, tf.Tensor]] = dataclasses.field(default_factory=list)
    # Of each step of an optimizer, in one vector.
    gradients: list[Any] = dataclasses.field(default_factory=list)


def watching() -> Record | None:
    """Returns what is recorded now, if anything is."""
    return binding.context().record.now


@contextlib.contextmanager
def watched() -> Iterator[Record]:
    """Records what a step makes while the block runs."""
    record = Record()
    with binding.context().record.given(record):
        yield record


def current() -> Step | None:
    """Returns the step that is being traced or run, if there is one."""
    return binding.context().step.now


def shared() -> SharedStep | None:
    """Returns the step under way, if ranks share its batch."""
    step = current()
    return step if isinstance(step, SharedStep) else None


@contextlib.contextmanager
def under_way(step: Step) -> Iterator[None]:
    """Makes ``step`` the current one while the block runs."""
    with binding.context().step.given(step):
        yield


def sum_over_ranks(step: SharedStep, tensor: tf.Tensor, name: str) -> tf.Tensor:
    """Sums a scalar of the forward pass over the ranks."""
    if in_xla():
        raise NeedsCollective(name)
    return step.collectives.sum([tensor], name)[0]


def _graph() -> Callable | None:
    return (
        None if tf.executing_eagerly() else tf.compat.v1.get_default_graph().as_default
    )
