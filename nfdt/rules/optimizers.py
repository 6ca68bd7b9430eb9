"""Optimizers on a shard: corrected gradients become changes of parameters, in blocks.

These are the optimizers that the server runs in code of its own, with those of
``nfdt.rules.averaging``; any other one of Keras is run by Keras. Letters as in
``nfdt.rules.corrections``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from fdtcore.validation import demand, is_number
from nfdt.rules.blocks import Compute, anew, zeros_like
from nfdt.rules.corrections import Push
from nfdt.rules.rule_state import Scalars, State, Vector

AUTO = "auto"


class Optimizer(Protocol):
    """Turns one gradient into an update, which the caller adds. Pure."""

    def init(self, params: Vector, num_workers: int) -> State:
        """Returns the state before the first update: a NamedTuple of the rule's own."""

    def scalars(self, state: State, push: Push) -> tuple[Scalars, State]:
        """Returns the scalars for this update, and the state with its numbers after it.

        Args:
            state: State of the rule before this update, its arrays whole.
            push: Of the gradients in it: the first one's worker, the worst staleness.
        """

    def update(
        self,
        gradient: Vector,
        state: State,
        scalars: Scalars,
        compute: Compute = anew,
    ) -> tuple[Vector, State]:
        """Returns one block of the update, and of the state after it.

        Args:
            gradient: One block of the corrected gradient; not written.
            state: With the same block of each of its arrays; not written.
            scalars: What :meth:`scalars` returned for this update.
            compute: Applies an operation; where it writes to is its choice.
        """


def as_keras_keeps(number: float) -> float:
    """Returns a number of a configuration as TensorFlow reads it: in float32."""
    return float(np.float32(number))


class SgdState(NamedTuple):
    """What :class:`Sgd` remembers."""

    velocity: Vector | None  # d, [P], type of the parameters, from 0; None at mu = 0


@dataclass(frozen=True)
class Sgd:
    """Gradient descent as Keras's ``SGD`` does it, bit by bit.

    ::

        without momentum:  w = w - lr * g
        momentum:          d = mu * d - lr * g;   w = w + d
        nesterov:          d = mu * d - lr * g;   w = w + mu * d - lr * g

    Args:
        momentum: mu, in [0, 1].
        nesterov: Whether the momentum is in Nesterov's form, the third one.

    Raises:
        ValueError: The momentum is out of its range.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        demand(
            is_number(self.momentum, at_least=0) and self.momentum <= 1,
            "momentum must be a number in [0, 1]",
            "Use 0 for none, or 0.9.",
            momentum=self.momentum,
        )

    def init(self, params: Vector, num_workers: int) -> SgdState:
        """The velocity, where there is momentum."""
        del num_workers
        return SgdState(zeros_like(params) if self.momentum else None)

    def scalars(self, state: SgdState, push: Push) -> tuple[float, SgdState]:
        """Returns the learning rate."""
        return push.learning_rate, state

    def update(
        self,
        gradient: Vector,
        state: SgdState,
        scalars: float,
        compute: Compute = anew,
    ) -> tuple[Vector, SgdState]:
        """The formulas of the class."""
        step = compute(np.multiply, gradient, -scalars)
        if state.velocity is None:
            return step, state
        momentum = as_keras_keeps(self.momentum)
        velocity = compute(np.multiply, state.velocity, momentum)
        velocity += step
        if not self.nesterov:
            return velocity, SgdState(velocity)
        step += compute(np.multiply, velocity, momentum)
        return step, SgdState(velocity)


class ElasticState(NamedTuple):
    """What :class:`Elastic` remembers."""

    alpha: float  # for the number of workers


@dataclass(frozen=True)
class Elastic:
    """Draws the shared parameters to a worker's own: ``w = w + alpha * (x - w)``.

    What arrives is no gradient but ``w - x``, the way from the worker's x. The
    learning rate is the worker's alone.

    Args:
        alpha: Strength, in (0, 1); "auto" is 0.9 over the number of workers.

    Raises:
        ValueError: alpha is out of its range.

    Source: Zhang, Choromanska, LeCun, "Deep learning with Elastic Averaging SGD",
    NeurIPS 2015, arXiv:1412.6651, asynchronous EASGD.
    """

    alpha: float | str = AUTO

    def __post_init__(self) -> None:
        demand(
            self.alpha == AUTO
            or (is_number(self.alpha, at_least=0, below=1) and self.alpha != 0),
            'alpha must be "auto" or a number in (0, 1)',
            'Use "auto" for 0.9 over the number of workers.',
            alpha=self.alpha,
        )

    def strength(self, num_workers: int) -> float:
        """Returns alpha for a number of workers."""
        return 0.9 / num_workers if self.alpha == AUTO else float(self.alpha)

    def init(self, params: Vector, num_workers: int) -> ElasticState:
        """alpha."""
        del params
        return ElasticState(self.strength(num_workers))

    def scalars(self, state: ElasticState, push: Push) -> tuple[float, ElasticState]:
        """Returns alpha."""
        del push
        return state.alpha, state

    def update(
        self,
        gradient: Vector,
        state: ElasticState,
        scalars: float,
        compute: Compute = anew,
    ) -> tuple[Vector, ElasticState]:
        """The formula of the class."""
        return compute(np.multiply, gradient, -scalars), state
