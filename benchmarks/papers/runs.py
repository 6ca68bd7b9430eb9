"""One training run: everything that its result depends on, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

ALLREDUCE, NONE = "allreduce", "none"


@dataclass(frozen=True)
class Run:
    """The settings of a run. Equal settings give equal results.

    Args:
        work: A key of :data:`benchmarks.papers.works.WORKS`.
        algorithm: A key of :data:`benchmarks.papers.contenders.CONTENDERS`.
        workers: M.
        times: A key of :data:`benchmarks.papers.clusters.TIMES`: how long steps take.
        rate: Learning rate; 0.1 of it after each of the ``drops``.
        seed: Of first values, batches and times.
        steps: Gradients of all workers together.
        drops: Shares of the steps after which the rate falls.
        consistency: Who waits, as ``nfdt run --consistency`` takes it; ``ALLREDUCE``:
            there is no server, and workers are ranks of HFDT.
        worker_rate: Rate of the workers' own SGD, which trains a copy of the
            parameters; its way is sent in place of a gradient. 0: they have none.
        own_steps: Steps of that before it is sent.
        message_s: Time of a gradient, or of the parameters, over the server's link,
            which carries one after the other; a step takes 1 s.
        looks: How often the test set is looked at, at equal distances.
        compression: Of what is sent, as ``hfdt run --compression`` takes it; with a
            server ``topk``, as ``nfdt run --wire`` does.
    """

    work: str
    algorithm: str
    workers: int
    times: str
    rate: float
    seed: int
    steps: int
    drops: tuple[float, ...] = (0.8,)
    consistency: str = "asp"
    worker_rate: float = 0.0
    own_steps: int = 1
    message_s: float = 0.0
    looks: int = 1
    compression: str = NONE

    def rate_at(self, step: int) -> float:
        """Returns the learning rate at a step."""
        passed = sum(step >= share * self.steps for share in self.drops)
        return self.rate * 0.1**passed


def from_json(fields: dict[str, Any]) -> Run:
    """Returns a run from its fields, as a file of results has them."""
    return Run(**{**fields, "drops": tuple(fields["drops"])})


class Shares(NamedTuple):
    """Bytes on the wire, beside those of whole vectors."""

    sent: float = 1.0
    received: float = 1.0


class Outcome(NamedTuple):
    """What came of a run."""

    accuracy: float  # on the test set, at the end
    loss: float | None  # there; None: not a number
    diverged: bool  # ended at a step with a loss that was no number
    mean_staleness: float  # updates
    max_staleness: int
    waiting: float  # share of the workers' time
    time_s: float  # virtual; a step takes 1 s on average
    seconds: float  # real
    accuracies: tuple[float, ...]  # at each look
    losses: tuple[float | None, ...]
    sent: float = 1.0  # as in `Shares`
    received: float = 1.0
