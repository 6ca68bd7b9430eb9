"""Optimizers that average each gradient with the running update.

With b the share of the gradient and mu the momentum of the user's SGD::

    kept = mu + (1 - mu) * (1 - b),   fresh = b * lr
    d = kept * d - fresh * g;   w = w + d

Without delay (b = 1) this is the user's SGD, to the bit: heavy ball, or Nesterov's form
``w = w + kept * d - fresh * g`` of it. Whatever the delays, a gradient's effect in the
long run stays that of the user's SGD, ``lr / (1 - mu)``; so nothing here is to be
combined with a rate scaled by the number of workers. Letters as in
``nfdt.rules.corrections``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdtcore.validation import demand, demand_positive, is_number
from nfdt.rules.corrections import Arrays, Push, Vector
from nfdt.rules.delays import AUTO, MeanDelay, demand_q
from nfdt.rules.optimizers import as_keras_keeps


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

    def weights(self, share: float, learning_rate: float) -> tuple[float, float]:
        """Returns the weights of d and of the gradient, from the gradient's share."""
        mu = as_keras_keeps(self.momentum)
        kept = mu + (1 - mu) * (1 - share)
        return kept, share * learning_rate

    def update(
        self, gradient: Vector, arrays: Arrays, weights: Any
    ) -> tuple[Vector, Arrays]:
        """The formula of the class."""
        kept, fresh = weights
        step = gradient * -fresh
        running = arrays[0] * kept
        running += step
        if not self.nesterov:
            return running, (running,)
        step += running * kept
        return step, (running,)


@dataclass(frozen=True)
class FixedDelayMomentum(Averaging):
    """Averages gradients with weights that the number of workers sets (DC-ASGDK).

    ::

        b = 1/M

    Source: the recursion that Mitliagkas et al. find for M workers with exponential
    step times (2016, arXiv:1605.09774), applied on purpose; reconstructed, see
    docs/ddc-asgd.md.
    """

    def init(self, params: Vector, num_workers: int) -> tuple[Any, Arrays]:
        """M, and the running update d, [P]."""
        return num_workers, (np.zeros_like(params),)

    def weigh(self, memory: Any, push: Push) -> tuple[Any, Any]:
        """Returns the weights of d and of the gradient."""
        return self.weights(1 / memory, push.learning_rate), memory


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

    def init(self, params: Vector, num_workers: int) -> tuple[Any, Arrays]:
        """The mean delay so far, and the running update d, [P]."""
        del num_workers
        return MeanDelay(), (np.zeros_like(params),)

    def weigh(self, memory: Any, push: Push) -> tuple[Any, Any]:
        """Returns the weights of d and of the gradient."""
        memory = memory.after(push.staleness)
        q = self.caution * memory.q(self.q)
        share = q / (push.staleness + q)
        return self.weights(share, push.learning_rate), memory
