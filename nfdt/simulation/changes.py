"""What happens to the workers of a cluster, and when."""

from __future__ import annotations

from dataclasses import dataclass

from fdtcore.validation import demand_positive


@dataclass(frozen=True)
class Slower:
    """A worker's steps take longer from now on; less, with a factor below 1."""

    at_s: float
    worker: int
    factor: float

    def __post_init__(self) -> None:
        demand_positive("Use 4 for four times as slow.", factor=self.factor)


@dataclass(frozen=True)
class Dies:
    """A worker is gone for ever."""

    at_s: float
    worker: int


@dataclass(frozen=True)
class Joins:
    """Workers come, each as another one is."""

    at_s: float
    like: int
    count: int = 1


Change = Slower | Dies | Joins
