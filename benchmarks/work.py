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
        contenders: Who trains it, in order.
        model: Which model; the works of one model differ in how they are run.
        slowdown: How many times as long the steps of the last rank take.
    """

    name: str
    title: str
    batch_per_rank: int
    steps: int
    epochs: int
    contenders: tuple[str, ...]
    model: str
    slowdown: int = 1

    def shortened(self) -> "Work":
        """Return the same work with just enough steps to see that it runs."""
        return replace(self, steps=max(6, self.steps // 10), epochs=1)


_SYNCHRONOUS = ("hfdt", "hfdt-one", "copies", "alone", "mpirun", "gloo", "mirrored")
_SERVED = ("nfdt", "nfdt-overlap")
_CNN = "Fashion-MNIST CNN, 0.84 M parameters"

# The payload's batch is small so that moving 25 M gradients, not computing them,
# is most of its step. The uneven work keeps those apart that wait for the slowest
# rank, and those that do not.
WORKS: Mapping[str, Work] = {
    work.name: work
    for work in (
        Work("cnn", _CNN, 128, 200, 2, (*_SYNCHRONOUS, *_SERVED, "pss"), "cnn"),
        Work(
            "payload",
            "dense payload, 25 M parameters",
            batch_per_rank=8,
            steps=30,
            epochs=2,
            contenders=(*_SYNCHRONOUS, *_SERVED),
            model="payload",
        ),
        Work(
            "uneven",
            f"{_CNN}, one rank slowed 4 times",
            batch_per_rank=128,
            steps=200,
            epochs=1,
            contenders=("nfdt", "hfdt", "copies"),
            model="cnn",
            slowdown=4,
        ),
    )
}
