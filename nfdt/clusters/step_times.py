"""Distributions of the time that a worker's step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fdtcore.validation import demand, demand_positive, is_number


class Duration(Protocol):
    """A distribution of times."""

    @property
    def mean_s(self) -> float:
        """Its mean, seconds."""

    def draw_s(self, random: np.random.Generator) -> float:
        """Returns one time, seconds."""


_WAY_OUT = "Write 20ms or 0.02."


@dataclass(frozen=True)
class Constant:
    """Always the same time.

    Args:
        mean_s: Time of every step, in seconds, > 0.
    """

    mean_s: float

    def __post_init__(self) -> None:
        demand_positive(_WAY_OUT, mean_s=self.mean_s)

    def draw_s(self, random: np.random.Generator) -> float:
        """Returns the time."""
        del random
        return self.mean_s


@dataclass(frozen=True)
class Gamma:
    """Times about a mean: a machine that does nothing else.

    ::

        shape = 1 / cv**2,   scale = mean * cv**2

    Args:
        mean_s: Mean time of a step, in seconds, > 0.
        cv: Standard deviation over mean, > 0; of steps on one machine about 0.1.

    Source: Ali et al., "Representing task and machine heterogeneities for heterogeneous
    computing systems", Tamkang Journal of Science and Engineering 3 (2000); used for
    asynchronous SGD by Hakimi et al., 2019, arXiv:1907.11612.
    """

    mean_s: float
    cv: float = 0.1

    def __post_init__(self) -> None:
        demand_positive(_WAY_OUT, mean_s=self.mean_s)
        demand_positive("Use a constant time for none.", cv=self.cv)

    def draw_s(self, random: np.random.Generator) -> float:
        """Returns one time."""
        return float(random.gamma(self.cv**-2, self.mean_s * self.cv**2))


@dataclass(frozen=True)
class Exponential:
    """Times without memory: the theory's favourite, and a very shaky machine.

    Args:
        mean_s: Mean time of a step, in seconds, > 0.
    """

    mean_s: float

    def __post_init__(self) -> None:
        demand_positive(_WAY_OUT, mean_s=self.mean_s)

    def draw_s(self, random: np.random.Generator) -> float:
        """Returns one time."""
        return float(random.exponential(self.mean_s))


@dataclass(frozen=True)
class Measured:
    """Times that were measured, drawn again in any order.

    Args:
        times_s: Them, each > 0; at least one.
        factor: What each is multiplied by.
    """

    times_s: Sequence[float]
    factor: float = 1.0
    mean_s: float = field(init=False)

    def __post_init__(self) -> None:
        demand(
            len(self.times_s) > 0
            and all(is_number(t, at_least=0) and t for t in self.times_s),
            "measured times must be one or more numbers of seconds > 0",
            "nfdt calibrate measures them.",
            times_s=self.times_s,
        )
        object.__setattr__(self, "mean_s", self.factor * float(np.mean(self.times_s)))

    def draw_s(self, random: np.random.Generator) -> float:
        """Returns one time."""
        return self.factor * self.times_s[int(random.integers(len(self.times_s)))]
