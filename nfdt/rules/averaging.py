"""Optimizers that average each gradient with the running update.

With b the share of the gradient and mu the momentum of the user's SGD::

    kept = mu + (1 - mu) * (1 - b),   fresh = b * lr
    d = kept * d - fresh * g;   w = w + d

Without delay (b = 1) this is the user's SGD, bit by bit: heavy ball, or Nesterov's form
``w = w + kept * d - fresh * g`` of it. Whatever the delays, a gradient's effect in the
long run stays that of the user's SGD, ``lr / (1 - mu)``; so nothing here is to be
combined with a rate scaled by the number of workers. Letters as in
``nfdt.rules.corrections``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from fdtcore.validation import demand, demand_positive, is_number
from nfdt.rules.blocks import Compute, anew, zeros_like
from nfdt.rules.corrections import Push
from nfdt.rules.delays import AUTO, MeanDelay, demand_q
from nfdt.rules.optimizers import as_keras_keeps
from nfdt.rules.rule_state import Vector


class AveragingScalars(NamedTuple):
    """The weights of the two that are averaged."""

    kept: float  # of the running update d
    fresh: float  # of the gradient, times the learning rate


class FixedDelayMomentumState(NamedTuple):
    """What :class:`FixedDelayMomentum` remembers."""

    running: Vector  # d, [P], type of the parameters; from 0
    num_workers: int  # M


class DelayMomentumState(NamedTuple):
    """What :class:`DelayMomentum` remembers."""

    running: Vector  # d, [P], type of the parameters; from 0
    delay: MeanDelay  # of all pushes so far


_State = TypeVar("_State", FixedDelayMomentumState, DelayMomentumState)


@dataclass(frozen=True)
class Averaging:
    """What both have in common.

    Args:
        momentum: mu, in [0, 1).
        nesterov: Whether the momentum is in Nesterov's form.

    Raises:
        ValueError: The momentum is out of its range.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        demand(
            is_number(self.momentum, at_least=0) and self.momentum < 1,
            "momentum must be a number in [0, 1)",
            "Use 0 for none, or 0.9.",
            momentum=self.momentum,
        )

    def weights(self, share: float, learning_rate: float) -> AveragingScalars:
        """Returns the weights of d and of the gradient, from the gradient's share b."""
        mu = as_keras_keeps(self.momentum)
        kept = mu + (1 - mu) * (1 - share)
        return AveragingScalars(kept, share * learning_rate)

    def update(
        self,
        gradient: Vector,
        state: _State,
        scalars: AveragingScalars,
        compute: Compute = anew,
    ) -> tuple[Vector, _State]:
        """The formula of the module."""
        step = compute(np.multiply, gradient, -scalars.fresh)
        running = compute(np.multiply, state.running, scalars.kept)
        running += step
        after = state._replace(running=running)
        if not self.nesterov:
            return running, after
        step += compute(np.multiply, running, scalars.kept)
        return step, after


@dataclass(frozen=True)
class FixedDelayMomentum(Averaging):
    """Averages gradients with weights that the number of workers sets (DC-ASGDK).

    ::

        b = 1/M

    Source: the recursion that Mitliagkas et al. find for M workers with exponential
    step times (2016, arXiv:1605.09774), applied on purpose; reconstructed, see
    docs/ddc-asgd.md.
    """

    def init(self, params: Vector, num_workers: int) -> FixedDelayMomentumState:
        """M, and the running update."""
        return FixedDelayMomentumState(zeros_like(params), num_workers)

    def scalars(
        self, state: FixedDelayMomentumState, push: Push
    ) -> tuple[AveragingScalars, FixedDelayMomentumState]:
        """Returns the weights of d and of the gradient."""
        return self.weights(1 / state.num_workers, push.learning_rate), state


@dataclass(frozen=True)
class DelayMomentum(Averaging):
    """Averages gradients with weights that this push's staleness sets (DDC-ASGD).

    ::

        b = caution * q / (tau + caution * q)

    A fresh gradient (tau = 0) makes the step of the user's SGD; one that is later than
    usual moves the parameters little, and they go on as before.

    Args:
        momentum: mu, in [0, 1).
        nesterov: Whether the momentum is in Nesterov's form.
        q: "auto" for ``1 + mean(tau)``, or a number. With q = 1 and constant delay
            M - 1 this is :class:`FixedDelayMomentum`.
        caution: Factor of q; the larger, the less momentum.

    Raises:
        ValueError: q or caution is not positive.

    Source: reconstructed, see docs/ddc-asgd.md.
    """

    q: float | str = AUTO
    caution: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        demand_q(self.q)
        demand_positive("Use 1 for the momentum of q alone.", caution=self.caution)

    def init(self, params: Vector, num_workers: int) -> DelayMomentumState:
        """The mean delay so far, and the running update."""
        del num_workers
        return DelayMomentumState(zeros_like(params), MeanDelay())

    def scalars(
        self, state: DelayMomentumState, push: Push
    ) -> tuple[AveragingScalars, DelayMomentumState]:
        """Returns the weights of d and of the gradient."""
        state = state._replace(delay=state.delay.after(push.staleness))
        q = self.caution * state.delay.q(self.q)
        share = q / (push.staleness + q)
        return self.weights(share, push.learning_rate), state
