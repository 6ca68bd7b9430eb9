"""The interfaces of a framework bound to Keras: collectives, and a strategy.

They are two objects, because most of what is bound needs the first only: files, seeds
and metrics ask what other ranks have, and never how a gradient becomes a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fdtcore.keras_types import (
    Dataset,
    Gradient,
    Model,
    Optimizer,
    Structure,
    Tensor,
    TensorFlowIterator,
    Variable,
)
from fdtcore.process import Process

Array = npt.NDArray[np.generic]


class KeptValue(NamedTuple):
    """A value that a snapshot keeps beside variables."""

    rule: str | None  # how those of several ranks combine; None: they are the same
    values: Array


class Stateful(Protocol):
    """What goes on from a state that is in no variable."""

    def state(self) -> list[KeptValue]:
        """Returns this rank's state; it goes on changing."""

    def give_back(self, kept: Sequence[KeptValue]) -> None:
        """Goes on from what `state` has returned."""


class Collectives(Protocol):
    """What the ranks of a job tell each other, and make alike.

    Every method but ``joining`` communicates: all ranks call it, in the same order. On
    one rank each is the identity.
    """

    @property
    def process(self) -> Process:
        """This process among the ranks, as it is now."""

    def agree(self, text: str, what: str) -> None:
        """Refuses a text that differs between ranks.

        Args:
            text: Describes what must be alike.
            what: What that is, for the message.

        Raises:
            ValueError: The texts differ.
        """

    def broadcast(self, variables: Sequence[Variable]) -> None:
        """Gives every variable rank 0's value."""

    def broadcast_text(self, text: str) -> str:
        """Returns rank 0's text."""

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Returns rank 0's bytes."""

    def allgather_bytes(self, data: bytes) -> list[bytes]:
        """Returns every rank's bytes."""

    def allgather_text(self, text: str) -> list[str]:
        """Returns every rank's text."""

    def allgather(self, arrays: Sequence[Array]) -> list[list[Array]]:
        """Returns every rank's arrays, whose shapes and types are the same."""

    def sum(self, tensors: Sequence[Tensor], name: str) -> list[Tensor]:
        """Sums each tensor over the ranks.

        Args:
            tensors: One or more, of the same shapes and types on all ranks.
            name: What they are, for messages; the same on all ranks.
        """

    def average(self, variables: Sequence[Variable]) -> None:
        """Gives every variable the mean over the ranks."""

    def barrier(self) -> None:
        """Returns when every rank has arrived."""

    def joining(self, label: str) -> AbstractContextManager[None]:
        """Surrounds a call that the others have to join; inner ones are part of it."""


class WrappedStep(Protocol):
    """A training or test step of a model, as a strategy makes it of Keras's."""

    def function(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """Returns what Keras's loop calls; ``inner`` is what Keras makes of this."""

    def before(self, kind: str, iterator: TensorFlowIterator) -> Any:
        """Is told of each call of that.

        Args:
            kind: Which call it is: ``"train"`` or ``"test"``.
            iterator: Keras's own, over this rank's batches.

        Returns:
            The iterator that the call takes.
        """

    def after(self) -> None:
        """Is told of the end of each call."""

    def __call__(self, data: Structure) -> Any:
        """Makes the step on a batch; returns its logs."""


class TrainingStrategy(Protocol):
    """How ranks train one model: what each trains on, what becomes of its gradients."""

    in_parts: bool  # whether ranks share each batch, or take batches of their own

    @property
    def finding(self) -> Exception | None:
        """What a step has found in TensorFlow, to be raised in place of its error."""

    def fit(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs Keras's ``fit`` of a model.

        Args:
            model: The user's Keras model.
            arguments: Of the call, by name; may be changed.
            run: Keras's own ``fit`` with them.
        """

    def evaluate(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs Keras's ``evaluate`` of a model; the arguments are those of ``fit``."""

    def on_batch(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs ``train_on_batch`` or ``test_on_batch``; arguments as for ``fit``."""

    def iterate(
        self, dataset: Dataset, inner: Callable[[Dataset], Any], line: int
    ) -> Any:
        """Iterates what of a data set is this rank's, in a loop written by hand.

        Args:
            dataset: The ``tf.data.Dataset`` of the loop, as the user made it.
            inner: TensorFlow's own way to iterate one.
            line: That of the loop, for messages.
        """

    def step_on(
        self, kind: str
    ) -> Callable[[Model, Callable[..., Any]], WrappedStep] | None:
        """Returns what wraps a step of a model, or None to leave it to Keras.

        Args:
            kind: Which step it is: ``"train"`` or ``"test"``.
        """

    def apply(
        self,
        optimizer: Optimizer,
        gradients: list[Gradient],
        variables: list[Variable] | None,
        inner: Callable[[Any, Any], Any],
    ) -> Any:
        """Turns this rank's gradients into one step of an optimizer.

        Args:
            optimizer: The one whose ``apply`` was called.
            gradients: One for each variable.
            variables: The variables, or None for those it was built with.
            inner: ``inner(gradients, variables)`` is the optimizer's own ``apply``.
        """

    @property
    def handed_on(self) -> Callable[[Optimizer], None] | None:
        """What is called after an optimizer has handed a step to those that it holds.

        None where the strategy takes the step in front of such an optimizer, and of a
        ``LossScaleOptimizer``; it stands behind them otherwise.
        """

    def settle(self, model: Model) -> None:
        """Brings a model up to date on all ranks, before it is saved."""


class Engine(Protocol):
    """A framework as it is bound to Keras in one process."""

    name: str  # of the framework, in messages

    @property
    def collectives(self) -> Collectives:
        """What the ranks tell each other."""

    @property
    def strategy(self) -> TrainingStrategy:
        """How they train."""

    @property
    def process(self) -> Process:
        """This process among the ranks, as it is now."""
