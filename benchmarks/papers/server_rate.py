"""What the server's own learning rate does, the workers' being fixed.

Claim: Daparvar, "Collaborative Optimization Method for Distributed Systems based on
Deep Learning": with SGD on workers and server, server rate 1 uses a worker's update in
full, which is fast, but stale updates make it shake; a small one is stable, but
wasteful; where staleness is serious, the server's rate is to be lowered.

    python -m benchmarks.papers.server_rate [--quick]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.papers.averages import best_rate, chosen, each, mean
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import EVEN, EXPONENTIAL
from benchmarks.papers.command import command
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Outcome, Run
from benchmarks.papers.verdicts import Statement, compare, state
from benchmarks.report import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MILD, SERIOUS = (4, EVEN), (16, EXPONENTIAL)
RATES = (1.0, 0.5, 0.2, 0.1)
SEEDS = (0, 1, 2)
STEPS, LOOKS, OWN_STEPS = 1800, 20, 4
WORKER_RATE = 0.05

SETTINGS = f"""\
Fashion-MNIST, two strided convolutions, batch 64, {STEPS} gradients of all workers
together. A worker makes {OWN_STEPS} steps of SGD at rate {WORKER_RATE:g} on a copy of
the parameters and sends the way it went; the server goes that way times its own rate,
which never falls. *Mild*: {MILD[0]} even workers; *serious*: {SERIOUS[0]} with
exponential times. The test set is looked at {LOOKS} times. *Early* is the mean accuracy
of the first quarter of the looks, *shaking* by how much it falls from one look to the
next, on average (rises count as 0). The text does not give its model, data or server
rates; these are ours."""


def runs(quick: bool) -> list[Run]:
    """Returns all runs, seed by seed."""
    seeds, steps, looks = ((0,), 32, 4) if quick else (SEEDS, STEPS, LOOKS)
    return [
        Run(
            "fashion_mnist",
            "asgd",
            *cluster,
            rate,
            seed,
            steps,
            drops=(),
            worker_rate=WORKER_RATE,
            own_steps=OWN_STEPS,
            looks=looks,
        )
        for seed in seeds
        for cluster in (MILD, SERIOUS)
        for rate in RATES
    ]


def early(outcome: Outcome) -> float:
    """Returns the mean accuracy of the first quarter of the looks."""
    return float(np.mean(outcome.accuracies[: max(1, len(outcome.accuracies) // 4)]))


def shaking(outcome: Outcome) -> float:
    """Returns how far the accuracy falls, on average, between two looks."""
    falls = -np.diff(outcome.accuracies)
    return float(np.mean(falls.clip(min=0))) if len(falls) else 0.0


def judge(results: Results) -> list[Statement]:
    """Compares rate 1 with the smaller ones, and the smallest with the best."""
    whole, smallest = max(RATES), min(RATES)
    faster, shakier, wasteful = [], [], []
    for case in _cases(results).values():
        for rate in set(RATES) - {whole}:
            pair = [chosen(case, rate=one) for one in (whole, rate)]
            faster.append(compare(*(mean(one, early) for one in pair)))
            shakier.append(compare(*(mean(one, shaking) for one in pair)))
        top = mean(case, rate=best_rate(case))
        wasteful.append(compare(top, mean(case, rate=smallest)))
    lowered = []
    if len(_cases(results)) == 2:
        mild, serious = (best_rate(case) for case in _cases(results).values())
        lowered.append(compare(mild, serious, margin=0.0))
    return [
        state("server rate 1 is faster at first than each smaller one", faster),
        state("server rate 1 shakes more than each smaller one", shakier),
        state("the best rate ends above the smallest, which is wasteful", wasteful),
        state("the best rate is lower where staleness is serious", lowered),
    ]


def _cases(results: Results) -> dict[str, Results]:
    return {
        title: case
        for title, (workers, times) in (("mild", MILD), ("serious", SERIOUS))
        if (case := chosen(results, workers=workers, times=times))
    }


def tables(results: Results) -> str:
    """Returns a row for each cluster and rate."""
    rows = []
    for title, case in _cases(results).items():
        for rate in each(case, "rate"):
            own = chosen(case, rate=rate)
            numbers = (mean(own, of) for of in (early, shaking))
            cells = [f"{number:.2%}" for number in (*numbers, mean(own))]
            late = f"{mean(own, lambda outcome: outcome.mean_staleness):.1f}"
            rows.append([f"{title}, server rate {rate:g}", *cells, late])
    return table(["run", "early", "shaking", "at the end", "mean staleness"], rows)


def draw(figure: Figure, results: Results) -> None:
    """Draws the four curves of each cluster: means, and the seeds behind them."""
    found = _cases(results)
    figure.set_size_inches(11, 4.5)
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for panel, (title, case) in zip(panels, found.items()):
        for index, rate in enumerate(each(case, "rate")):
            own = chosen(case, rate=rate)
            curves = np.array([outcome.accuracies for outcome in own.values()])
            steps = next(iter(own)).steps
            at = np.linspace(steps / curves.shape[1], steps, curves.shape[1])
            label, color = f"server rate {rate:g}", f"C{index}"
            panel.plot(at, curves.T, color=color, lw=0.7, alpha=0.5)
            panel.plot(at, curves.mean(0), color=color, lw=2.2, label=label)
        panel.set_title(f"staleness {title}")
        panel.set_xlabel("gradients")
    panels[0].set_ylabel("test accuracy")
    panels[0].legend()


CLAIM = Claim(
    "server_rate",
    "The server's learning rate: fast and shaky, or stable and wasteful",
    __doc__,
    SETTINGS,
    runs,
    lambda run: (run.workers, run.times),
    judge,
    tables,
    draw,
)
main = command([CLAIM], CLAIM.title)

if __name__ == "__main__":
    main()
