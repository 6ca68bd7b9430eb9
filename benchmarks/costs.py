"""What an exchange and an update cost beside plain references, and the limits."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.ratios import Spread, spread

EXCHANGE = "exchange"
LARGEST = 25_000_000
PARAMETERS = (100_000, 1_000_000, 10_000_000, LARGEST)
# What is measured, and the number of parameters at which it is judged -> how many
# times its reference's time it may take.
LIMITS: Mapping[tuple[str, int], float] = {
    (EXCHANGE, LARGEST): 4.0,
    ("dc-asgd-c", LARGEST): 8.0,
}
BYTES = 4  # of a parameter


class Measured(NamedTuple):
    """Times of one thing and of its reference, which took turns."""

    name: str
    parameters: int
    seconds: tuple[float, ...]  # the median of each round
    reference_s: tuple[float, ...]  # likewise

    @property
    def ratio(self) -> Spread:
        """How many times as long as the reference; within rounds."""
        pairs = zip(self.seconds, self.reference_s, strict=True)
        return spread([one / other for one, other in pairs])

    @property
    def limit(self) -> float | None:
        """The greatest ratio wanted, None where there is none."""
        return LIMITS.get((self.name, self.parameters))

    @property
    def verdict(self) -> str:
        """Say whether the median keeps the limit: "reached", "missed" or "-"."""
        if self.limit is None:
            return "-"
        return "reached" if self.ratio.median <= self.limit else "missed"


def verdicts(found: Sequence[Measured]) -> dict[str, list[str]]:
    """Return which limits are reached, missed, not measured."""
    known = {(one.name, one.parameters): one for one in found}
    lines: dict[str, list[str]] = {"reached": [], "missed": [], "not measured": []}
    for name, parameters in LIMITS:
        one = known.get((name, parameters))
        verdict = "not measured" if one is None else one.verdict
        lines[verdict].append(f"{name} of {millions(parameters)}")
    return lines


def millions(parameters: int) -> str:
    """Return a number of parameters as people say it.

    >>> millions(100_000)
    '0.1 M'
    """
    return f"{parameters / 1e6:g} M"
