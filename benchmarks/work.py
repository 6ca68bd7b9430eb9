"""What is trained in the benchmarks: sizes only, no framework."""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Work:
    """One training job, the same for every contender.

    Args:
        name: Word for it on the command line, in tables and in file names.
        title: How tables and pictures name it.
        batch_per_rank: Samples that each rank computes in one step.
        steps: Steps in one epoch.
        epochs: Timed epochs; one untimed epoch (tracing, first touch) precedes them.
    """

    name: str
    title: str
    batch_per_rank: int
    steps: int
    epochs: int

    def shortened(self) -> "Work":
        """Return the same work with just enough steps to see that it runs."""
        return replace(self, steps=max(6, self.steps // 10), epochs=1)


# The payload's batch is small so that moving 25 M gradients, not computing them,
# is most of its step.
WORKS: Mapping[str, Work] = {
    work.name: work
    for work in (
        Work("cnn", "Fashion-MNIST CNN, 0.84 M parameters", 128, 200, 2),
        Work("payload", "dense payload, 25 M parameters", 8, 30, 2),
    )
}
