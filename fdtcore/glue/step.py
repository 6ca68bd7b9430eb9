"""The step that is being traced or run."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from fdtcore.engine import Engine


class NeedsCollective(Exception):
    """A step wanted to communicate where XLA compiles it, which cannot be done."""


class Step:
    """A step that is being traced or run.

    Args:
        engine: The engine.
        model: The model that trains or is tested.
        num_samples: Scalar int32 tensor, samples of the batch on this rank.
        kinds: What was found out of the values that the step makes, in order, by the
            names of :class:`Record`; see ``combining``.
    """

    def __init__(
        self,
        engine: Engine,
        model: Any,
        num_samples: tf.Tensor,
        kinds: Mapping[str, Sequence[str]] | None = None,
    ):
        self.engine = engine
        self.model = model
        self.num_samples = num_samples
        self._kinds = kinds or {}
        self._made: collections.Counter[str] = collections.Counter()
        self._share: tf.Tensor | None = None
        self._weighed: list[Any] = []  # optimizers whose loss is weighed already
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
                self._share = self.engine.share(self.num_samples)
        return self._share

    def is_share(self, share: float) -> None:
        """Takes a part for a rank's, though no rank is asked."""
        self._share = tf.constant(share, tf.float32)

    def weigh_loss(self, optimizer: Any, loss: Any) -> Any:
        """Weighs the loss of this rank's part, in place of the gradients.

        So everything in the backward pass is of the size it has on one process.

        Args:
            optimizer: Whose gradients are not to be weighed any more.
            loss: A scalar.
        """
        if in_xla():
            raise NeedsCollective("a loss weighted by this rank's share")
        self._weighed.append(optimizer)
        return loss * tf.cast(self.share, loss.dtype)

    def share_of(self, optimizer: Any) -> tf.Tensor:
        """What an optimizer's gradients are to be weighed by, float32 scalar."""
        if any(optimizer is one for one in self._weighed):
            return tf.cast(self.share > 0, tf.float32)
        return self.share

    @property
    def sum_scale(self) -> tf.Tensor:
        """Factor for a loss that is a sum over samples: ``1 / share``.

        The engine weighs every gradient by the share, which is right for a mean over
        samples; a sum must not be weighed.
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


_steps: list[Step] = []
_records: list[Record] = []


def watching() -> Record | None:
    """Returns what is recorded now, if anything is."""
    return _records[-1] if _records else None


@contextlib.contextmanager
def watched() -> Iterator[Record]:
    """Records what a step makes while the block runs."""
    _records.append(Record())
    try:
        yield _records[-1]
    finally:
        _records.pop()


def current() -> Step | None:
    """Returns the step that is being traced or run, if there is one."""
    return _steps[-1] if _steps else None


@contextlib.contextmanager
def under_way(step: Step) -> Iterator[None]:
    """Makes ``step`` the current one while the block runs."""
    _steps.append(step)
    try:
        yield
    finally:
        _steps.pop()


def sum_over_ranks(step: Step, tensor: tf.Tensor, name: str) -> tf.Tensor:
    """Sums a scalar of the forward pass over the ranks."""
    if in_xla():
        raise NeedsCollective(name)
    return step.engine.sum([tensor], name)[0]


def in_xla() -> bool:
    """Whether what is traced now will be compiled by XLA."""
    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def _graph() -> Callable | None:
    return (
        None if tf.executing_eagerly() else tf.compat.v1.get_default_graph().as_default
    )
