"""What of the benchmark is to run."""

from dataclasses import dataclass

from benchmarks.launches import CONTENDERS
from benchmarks.ratios import COMPARISONS
from benchmarks.work import WORKS, Work

REFERENCES = tuple(
    name
    for name in CONTENDERS
    if any(name in comparison.references for comparison in COMPARISONS)
)


@dataclass(frozen=True)
class Settings:
    """What to run.

    Args:
        rounds: How often each contender runs.
        quick: Only a few steps and one round: shows that everything runs.
        works: Names of the works.
        references: Names of the contenders that ours are compared with.
        exchange: Whether to measure what an exchange costs, too.
        timeout_s: Limit for one run of one contender.
    """

    rounds: int
    quick: bool
    works: tuple[str, ...]
    references: tuple[str, ...]
    exchange: bool = False
    timeout_s: float = 600

    def work(self, name: str) -> Work:
        """Return the work as these settings want it."""
        return WORKS[name].shortened() if self.quick else WORKS[name]

    def names(self, work: Work) -> list[str]:
        """Return the contenders of a work to run: references, and our side of each."""
        wanted = [
            comparison
            for comparison in COMPARISONS
            if comparison.wanted(self.references, work.contenders)
        ]
        sides = {one.contender for one in wanted}
        others = {name for one in wanted for name in one.references}
        chosen = sides | (others & set(self.references))
        return [name for name in work.contenders if name in chosen]
