"""Corrections by a Taylor step: along the way the parameters moved since the pull.

Letters as in ``nfdt.rules.corrections``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from fdtcore.validation import demand, demand_decay, demand_positive, is_number
from nfdt.rules.blocks import Compute, anew, zeros_like
from nfdt.rules.corrections import Block, Elementwise, Push
from nfdt.rules.delays import AUTO, MeanDelay, demand_q
from nfdt.rules.rule_state import NoState, Vector

_PIECE = 8192  # elements that BLAS sums on one thread: the other cores are the workers'
_SMALL, _LARGE = 1e-30, 1e30  # where float32 still holds the squares that matter


def square_sum(vector: Vector) -> float:
    """Returns the sum of the squares, right where float32 would under- or overflow."""
    end = vector.size // _PIECE * _PIECE
    pieces, rest = vector[:end].reshape(-1, _PIECE), vector[end:]
    with np.errstate(over="ignore", under="ignore"):
        parts = [*_dots(pieces), float(np.dot(rest, rest))]
    total = 0.0
    for index, part in enumerate(parts):
        if not _SMALL < part < _LARGE:
            start = index * _PIECE
            wide = vector[start : start + _PIECE].astype(np.float64)
            part = float(np.dot(wide, wide))
        total += part
    return total


def _dots(pieces: Vector) -> list[float]:
    """Returns each row's product with itself, bit by bit that of ``np.dot``."""
    if pieces.dtype.kind != "f":  # bfloat16's matmul sums in another type
        return [float(np.dot(piece, piece)) for piece in pieces]
    rows, columns = pieces[:, None, :], pieces[:, :, None]
    found: list[float] = np.matmul(rows, columns).reshape(-1).tolist()
    return found


@dataclass(frozen=True)
class DelayCompensation(Elementwise):
    """First-order correction of a gradient computed at parameters now out of date.

    ::

        g' = g + strength * g * g * (w - v)

    The product g * g stands for the diagonal of the Hessian, so this is a Taylor step
    along the way the parameters have moved since the pull. It vanishes when nothing
    has moved.

    Args:
        strength: Non-negative factor (lambda). 0 gives plain ASGD.

    Raises:
        ValueError: The strength is negative or not finite.

    Source: Zheng et al., "Asynchronous Stochastic Gradient Descent with Delay
    Compensation", ICML 2017, arXiv:1609.08326, form DC-ASGD-c; the strength 0.04 is
    the default of later implementations.
    """

    strength: float = 0.04
    needs_pulled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _demand_strength(self.strength)

    def correct(
        self,
        block: Block,
        state: NoState,
        scalars: None,
        compute: Compute = anew,
    ) -> tuple[Vector, NoState]:
        """The formula of the class."""
        del scalars
        term = _term(block, compute)
        term *= self.strength
        term += block.gradient
        return term, state


class AdaptiveDelayCompensationState(NamedTuple):
    """What :class:`AdaptiveDelayCompensation` remembers."""

    mean_square: Vector  # s, [P], type of the parameters; from 0


@dataclass(frozen=True)
class AdaptiveDelayCompensation(Elementwise):
    """Delay compensation whose strength falls where gradients are large.

    ::

        s  = decay * s + (1 - decay) * g * g
        g' = g + strength / sqrt(s + epsilon) * g * g * (w - v)

    Args:
        strength: Factor lambda_0, >= 0.
        decay: Decay of the mean square s, in [0, 1).
        epsilon: Keeps the root away from 0.

    Raises:
        ValueError: An option is out of its range.

    Source: Zheng et al., ICML 2017, arXiv:1609.08326, form DC-ASGD-a. The mean square
    is one for all workers, as in the paper; the authors' code keeps one for each.
    """

    strength: float = 2.0
    decay: float = 0.95
    epsilon: float = 1e-7
    needs_pulled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _demand_strength(self.strength)
        demand_decay("Use 0 for each gradient's own square.", decay=self.decay)
        demand_positive("Use 1e-7.", epsilon=self.epsilon)

    def init(self, params: Vector, num_workers: int) -> AdaptiveDelayCompensationState:
        """The mean square, from 0."""
        del num_workers
        return AdaptiveDelayCompensationState(zeros_like(params))

    def correct(
        self,
        block: Block,
        state: AdaptiveDelayCompensationState,
        scalars: None,
        compute: Compute = anew,
    ) -> tuple[Vector, AdaptiveDelayCompensationState]:
        """The formulas of the class."""
        del scalars
        gradient = block.gradient
        mean = compute(np.multiply, gradient, gradient)
        mean *= 1 - self.decay
        mean += compute(np.multiply, self.decay, state.mean_square)
        root = compute(np.add, mean, self.epsilon)
        np.sqrt(root, out=root)
        term = _term(block, compute)
        term *= self.strength
        term /= root
        term += block.gradient
        return term, state._replace(mean_square=mean)


@dataclass(frozen=True)
class DelayedTaylor:
    """Taylor term whose size is set by the gradient's and whose trust by the delay.

    ::

        q  = 1 + mean(tau)
        a  = tau / (tau + q)
        c  = g * g * (w - v)
        g' = g + a * (|g| / |c|) * c

    With ``saturating`` the trust is ``a = min(1, tau / q)`` instead. The norms are
    those of the whole vector of a server, so this is not elementwise: several servers
    would each scale by norms of their own.

    Args:
        q: A fixed number in place of ``1 + mean(tau)``, or "auto".
        saturating: The second form of the trust.

    Raises:
        ValueError: q is neither "auto" nor a positive number.

    Source: the correction half of the reconstructed DDC-ASGD (docs/ddc-asgd.md). The
    scaling by norms follows DC-S3GD (Rigazzi, 2019, arXiv:1911.02516).
    """

    q: float | str = AUTO
    saturating: bool = False
    needs_pulled: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        demand_q(self.q)

    def init(self, params: Vector, num_workers: int) -> MeanDelay:
        """The mean delay so far."""
        del params, num_workers
        return MeanDelay()

    def measure(self, block: Block, compute: Compute = anew) -> Vector:
        """Returns the block's part of |g|^2 and |c|^2, float64 [2]."""
        return np.array([square_sum(block.gradient), square_sum(_term(block, compute))])

    def scalars(
        self, state: MeanDelay, sums: Vector, push: Push
    ) -> tuple[float, MeanDelay]:
        """Returns the factor of c."""
        state = state.after(push.staleness)
        tau, q = push.staleness, state.q(self.q)
        if not tau:
            return 0.0, state
        trust = min(1.0, tau / q) if self.saturating else tau / (tau + q)
        gradient, term = (math.sqrt(total) for total in sums)
        # Where c vanishes, or is beyond the numbers, it has no direction to offer.
        known = trust > 0 and term > 0 and math.isfinite(gradient + term)
        return trust * gradient / term if known else 0.0, state

    def correct(
        self,
        block: Block,
        state: MeanDelay,
        scalars: float,
        compute: Compute = anew,
    ) -> tuple[Vector, MeanDelay]:
        """The formula of the class."""
        if not scalars:
            return block.gradient, state
        term = _term(block, compute)
        term *= scalars
        term += block.gradient
        return term, state


def _term(block: Block, compute: Compute) -> Vector:
    """Returns ``g * g * (w - v)``, 0 wherever w == v, however large g."""
    assert block.pulled is not None
    term = compute(np.subtract, block.params, block.pulled)
    term *= block.gradient
    term *= block.gradient
    return term


def _demand_strength(strength: float) -> None:
    demand(
        is_number(strength, at_least=0),
        "strength must be a number >= 0",
        "Use 0 for no compensation.",
        strength=strength,
    )
