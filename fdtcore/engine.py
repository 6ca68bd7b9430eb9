"""What a framework must supply to be bound to Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fdtcore.process import Process


class Engine(Protocol):
    """One framework's way to train together.

    Every method but ``joining`` communicates: all ranks call it, in the
    same order. On one rank each is the identity.
    """

    name: str  # of the framework, in messages
    process: Process
    finding: Exception | None  # what a step found out while TensorFlow ran it
    in_parts: bool  # whether ranks share each batch, or take batches of their own
    innermost: bool  # whether it stands inside a ``LossScaleOptimizer``, or outside

    @property
    def batch(self) -> str:
        """``"global"``: a rank takes its part of each batch; ``"per_worker"``: whole
        batches, dealt in turn."""

    def agree(self, text: str, what: str) -> None:
        """Raises where ``text``, which describes ``what``, differs between ranks."""

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every variable rank 0's value."""

    def broadcast_text(self, text: str) -> str:
        """Returns rank 0's text."""

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Returns rank 0's bytes."""

    def agreed(self, owner: Any) -> None:
        """Notes that what a model or an optimizer holds is alike on all ranks."""

    def has_agreed(self, owner: Any) -> bool:
        """Whether what a model or an optimizer holds was made alike on all ranks."""

    def allgather_text(self, text: str) -> list[str]:
        """Returns every rank's text."""

    def allgather(self, arrays: Sequence[Any]) -> list[list[Any]]:
        """Returns every rank's arrays, whose shapes and types are the same."""

    def rows(self, tensors: Sequence[Any], name: str) -> list[Any]:
        """Joins each tensor's rows over the ranks that share a batch, by rank."""

    def share(self, num_samples: Any) -> Any:
        """This rank's share of all samples of the step, a scalar in [0, 1].

        Args:
            num_samples: Scalar integer tensor, samples on this rank.
        """

    def sum(self, tensors: Sequence[Any], name: str) -> list[Any]:
        """Sums each tensor over the ranks."""

    def average(self, variables: Sequence[Any]) -> None:
        """Gives every variable the mean over the ranks."""

    def apply(
        self, optimizer: Any, gradients: Any, variables: Any, *, share: Any, inner: Any
    ) -> Any:
        """Turns this rank's gradients into one step of ``optimizer`` on every rank.

        Args:
            optimizer: The outermost optimizer.
            gradients: One tensor, ``IndexedSlices`` or None for each variable.
            variables: The variables, or None for those it was built with.
            share: Scalar weight of this rank's gradients; the weights sum to 1.
            inner: ``inner(gradients, variables)`` is the optimizer's own ``apply``.
        """

    def handed_on(self, optimizer: Any) -> None:
        """Notes a step of an optimizer that has handed it to those that it holds.

        Only where the engine stands innermost.
        """

    def prepare(self, optimizer: Any) -> None:
        """Changes an optimizer as the user chose, before its first step."""

    def callbacks(self) -> list[Any]:
        """Callbacks that every ``fit`` runs with."""

    def fitting(self, callbacks: Any) -> AbstractContextManager[None]:
        """Surrounds one ``fit``; ``callbacks`` are those it runs with."""

    def fit(self, model: Any, arguments: dict[str, Any], run: Callable[[], Any]) -> Any:
        """Runs Keras's ``fit`` of a model with its arguments, which it may change."""

    def evaluate(
        self, model: Any, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs Keras's ``evaluate`` of a model with its arguments."""

    def on_batch(
        self, model: Any, name: str, arguments: Any, run: Callable[[], Any]
    ) -> Any:
        """Runs ``train_on_batch`` or ``test_on_batch`` where batches are not shared."""

    def settle(self, model: Any) -> None:
        """Brings a model up to date on all ranks, before it is saved."""

    def iterate(self, dataset: Any, inner: Callable[[Any], Any], line: int) -> Any:
        """Iterates what of a data set is this rank's in a loop written by hand.

        Args:
            dataset: The ``tf.data.Dataset``.
            inner: TensorFlow's own way to iterate one.
            line: That of the loop, for messages.
        """

    def step_on(self, kind: str) -> Callable[..., Any] | None:
        """What wraps a ``"train"`` or ``"test"`` step; None leaves it to Keras."""

    def barrier(self) -> None:
        """Returns when every rank has arrived."""

    def joining(self, label: str) -> AbstractContextManager[None]:
        """Surrounds a call that the others have to join; inner ones are part of it."""
