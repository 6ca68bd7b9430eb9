"""Corrections of one late gradient before it is used.

Letters: P parameters in a shard, M workers, g the gradient, w the parameters now, v
those that g's worker pulled, tau its staleness. A correction runs on blocks of the
vector; the scalars that it needs of a whole push are computed once, before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from fdtcore.validation import demand_decay, demand_positive
from nfdt.rules.blocks import Compute, anew, zeros_like
from nfdt.rules.rule_state import NoState, Scalars, State
from nfdt.rules.rule_state import Vector as Vector


class Push(NamedTuple):
    """What is known of one gradient besides its values."""

    worker: int
    staleness: int  # updates since its worker pulled, >= 0
    learning_rate: float  # in force now


class Block(NamedTuple):
    """Equal ranges of three vectors."""

    gradient: Vector
    params: Vector  # now
    pulled: Vector | None  # by the gradient's worker; None where not kept


class Correction(Protocol):
    """Turns one late gradient into one to be used now. Pure.

    Attributes:
        needs_pulled: Whether it reads v, which the server then keeps per worker.
        elementwise: Whether the result is the same however the vector is sharded.
    """

    needs_pulled: ClassVar[bool]
    elementwise: ClassVar[bool]

    def init(self, params: Vector, num_workers: int) -> State:
        """Returns the state before the first push: a NamedTuple of the rule's own."""

    def measure(self, block: Block, compute: Compute = anew) -> Vector:
        """Returns sums over one block, which are added up over the whole vector.

        Args:
            block: Of the gradient and the parameters.
            compute: Applies an operation; where it writes to is its choice.

        Returns:
            Nothing where it is elementwise; else |g|^2 first, which is not finite if
            an element of g is not.
        """

    def scalars(self, state: State, sums: Vector, push: Push) -> tuple[Scalars, State]:
        """Returns the scalars for this push, and the state with its numbers after it.

        Args:
            state: State of the rule before this push, its arrays whole.
            sums: Of :meth:`measure`, over the whole vector; empty where nothing is
                measured, as there is no delay.
            push: What is known of it.
        """

    def correct(
        self,
        block: Block,
        state: State,
        scalars: Scalars,
        compute: Compute = anew,
    ) -> tuple[Vector, State]:
        """Returns one block of the corrected gradient, and of the state after it.

        Args:
            block: Of the gradient and the parameters; not written.
            state: With the same block of each of its arrays; not written.
            scalars: What :meth:`scalars` returned for this push.
            compute: Applies an operation; where it writes to is its choice.
        """


_NO_SUMS: Vector = np.zeros(0)
_TINY = 1e-30  # a rate of 0 makes no step; it must not make a NaN either


class Elementwise:
    """What corrections have in common that treat each coordinate alone."""

    needs_pulled: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True

    def init(self, params: Vector, num_workers: int) -> Any:
        """No state."""
        del params, num_workers
        return NoState()

    def measure(self, block: Block, compute: Compute = anew) -> Vector:
        """Nothing of the whole vector."""
        del block, compute
        return _NO_SUMS

    def scalars(self, state: State, sums: Vector, push: Push) -> tuple[Scalars, State]:
        """No scalars."""
        del sums, push
        return None, state


@dataclass(frozen=True)
class NoCorrection(Elementwise):
    """Uses every gradient as it arrives: ``g' = g``."""

    def correct(
        self,
        block: Block,
        state: NoState,
        scalars: None,
        compute: Compute = anew,
    ) -> tuple[Vector, NoState]:
        """The gradient itself."""
        del scalars, compute
        return block.gradient, state


@dataclass(frozen=True)
class StalenessAware(Elementwise):
    """Divides a gradient by its staleness: ``g' = g / max(tau, 1)``.

    Source: Zhang, Gupta, Lian, Liu, "Staleness-aware Async-SGD for Distributed Deep
    Learning", IJCAI 2016, arXiv:1511.05950, with one gradient in an update.
    """

    def scalars(
        self, state: NoState, sums: Vector, push: Push
    ) -> tuple[float, NoState]:
        """Returns the divisor."""
        del sums
        return float(max(push.staleness, 1)), state

    def correct(
        self,
        block: Block,
        state: NoState,
        scalars: float,
        compute: Compute = anew,
    ) -> tuple[Vector, NoState]:
        """The formula of the class."""
        gradient = block.gradient
        return compute(np.divide, gradient, scalars), state


class GapAwareState(NamedTuple):
    """What :class:`GapAware` remembers."""

    pushes: int  # t, so far
    largest_rate: float  # lr_max, so far
    mean_square: Vector  # s, [P], type of the parameters; from 0


class GapAwareScalars(NamedTuple):
    """What :class:`GapAware` needs of a push."""

    largest_rate: float  # lr_max
    bias: float  # 1 - gamma^t, in (0, 1]


@dataclass(frozen=True)
class GapAware(Elementwise):
    """Divides each coordinate by how far it has moved, in units of a usual step.

    ::

        s   = gamma * s + (1 - gamma) * g * g
        C   = lr_max * (sqrt(s / (1 - gamma^t)) + epsilon)
        g'  = g / (1 + |w - v| / C)

    with lr_max the largest learning rate so far and t the number of pushes.

    Args:
        gamma: Decay of the mean square.
        epsilon: Keeps the step away from 0.

    Raises:
        ValueError: An option is out of its range.

    Source: Barkai, Hakimi, Schuster, "Gap Aware Mitigation of Gradient Staleness",
    ICLR 2020, arXiv:1909.10802, form without momentum.
    """

    gamma: float = 0.999
    epsilon: float = 1e-8
    needs_pulled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        demand_decay("Use 0.999.", gamma=self.gamma)
        demand_positive("Use 1e-8.", epsilon=self.epsilon)

    def init(self, params: Vector, num_workers: int) -> GapAwareState:
        """Nothing is known yet."""
        del num_workers
        return GapAwareState(0, 0.0, zeros_like(params))

    def scalars(
        self, state: GapAwareState, sums: Vector, push: Push
    ) -> tuple[GapAwareScalars, GapAwareState]:
        """Returns lr_max and the bias of s."""
        del sums
        pushes = state.pushes + 1
        largest = max(state.largest_rate, push.learning_rate)
        after = state._replace(pushes=pushes, largest_rate=largest)
        return GapAwareScalars(largest, 1 - self.gamma**pushes), after

    def correct(
        self,
        block: Block,
        state: GapAwareState,
        scalars: GapAwareScalars,
        compute: Compute = anew,
    ) -> tuple[Vector, GapAwareState]:
        """The formulas of the class."""
        gradient, params, pulled = block
        assert pulled is not None
        fresh = compute(np.multiply, 1 - self.gamma, gradient)
        fresh *= gradient
        mean = compute(np.multiply, self.gamma, state.mean_square)
        mean += fresh
        step = compute(np.divide, mean, scalars.bias)
        np.sqrt(step, out=step)
        step += self.epsilon
        step *= scalars.largest_rate
        np.maximum(step, _TINY, out=step)
        gap = compute(np.subtract, params, pulled)
        np.abs(gap, out=gap)
        with np.errstate(over="ignore"):  # a step of next to nothing: an infinite gap
            gap /= step
        gap += 1
        np.divide(gradient, gap, out=gap)
        return gap, state._replace(mean_square=mean)
