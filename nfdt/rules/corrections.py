"""Corrections of one late gradient before it is used.

Letters: P parameters in a shard, M workers, g the gradient, w the parameters now, v
those that g's worker pulled, tau its staleness. A correction runs on blocks of the
vector; what it needs of a whole push it reckons in ``weigh``, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fdtcore.validation import demand_decay, demand_positive

Vector = npt.NDArray[np.floating]
Arrays = tuple[Vector, ...]  # state: the last axis of each is P


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

    def init(self, params: Vector, num_workers: int) -> tuple[Any, Arrays]:
        """Returns the memory of ``weigh`` and the arrays of ``correct``."""

    def measure(self, block: Block) -> Vector:
        """Returns sums over one block, which are added up over the whole vector."""

    def weigh(self, memory: Any, sums: Vector, push: Push) -> tuple[Any, Any]:
        """Returns the scalars for this push, and the memory after it."""

    def correct(
        self, block: Block, arrays: Arrays, weights: Any
    ) -> tuple[Vector, Arrays]:
        """Returns one block of the corrected gradient and of the arrays after it."""


_NO_SUMS: Vector = np.zeros(0)
_TINY = 1e-30  # a rate of 0 makes no step; it must not make a NaN either


class Elementwise:
    """What corrections have in common that treat each coordinate alone."""

    needs_pulled: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True

    def init(self, params: Vector, num_workers: int) -> tuple[Any, Arrays]:
        """No state."""
        del params, num_workers
        return None, ()

    def measure(self, block: Block) -> Vector:
        """Nothing of the whole vector."""
        del block
        return _NO_SUMS

    def weigh(self, memory: Any, sums: Vector, push: Push) -> tuple[Any, Any]:
        """No scalars."""
        del sums, push
        return None, memory


@dataclass(frozen=True)
class NoCorrection(Elementwise):
    """Uses every gradient as it arrives: ``g' = g``."""

    def correct(
        self, block: Block, arrays: Arrays, weights: Any
    ) -> tuple[Vector, Arrays]:
        """The gradient itself."""
        del weights
        return block.gradient, arrays


@dataclass(frozen=True)
class StalenessAware(Elementwise):
    """Divides a gradient by its staleness: ``g' = g / max(tau, 1)``.

    Source: Zhang, Gupta, Lian, Liu, "Staleness-aware Async-SGD for Distributed Deep
    Learning", IJCAI 2016, arXiv:1511.05950, with one gradient in an update.
    """

    def weigh(self, memory: Any, sums: Vector, push: Push) -> tuple[Any, Any]:
        """Returns the divisor."""
        del sums
        return float(max(push.staleness, 1)), memory

    def correct(
        self, block: Block, arrays: Arrays, weights: Any
    ) -> tuple[Vector, Arrays]:
        """The formula of the class."""
        return block.gradient / weights, arrays


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

    def init(self, params: Vector, num_workers: int) -> tuple[Any, Arrays]:
        """Pushes and largest rate so far; the mean square, [P]."""
        del num_workers
        return (0, 0.0), (np.zeros_like(params),)

    def weigh(self, memory: Any, sums: Vector, push: Push) -> tuple[Any, Any]:
        """Returns lr_max and the bias of s."""
        del sums
        count, largest = memory[0] + 1, max(memory[1], push.learning_rate)
        return (largest, 1 - self.gamma**count), (count, largest)

    def correct(
        self, block: Block, arrays: Arrays, weights: Any
    ) -> tuple[Vector, Arrays]:
        """The formulas of the class."""
        gradient, params, pulled = block
        assert pulled is not None
        largest, bias = weights
        mean = self.gamma * arrays[0] + (1 - self.gamma) * gradient * gradient
        step = mean / bias
        np.sqrt(step, out=step)
        step += self.epsilon
        step *= largest
        np.maximum(step, _TINY, out=step)
        gap = params - pulled
        np.abs(gap, out=gap)
        with np.errstate(over="ignore"):  # a step of next to nothing: an infinite gap
            gap /= step
        gap += 1
        return gradient / gap, (mean,)
