"""Compressed gradients beside dense ones: DGC, top-k, PowerSGD, and parts both ways.

Claim: Lin et al., "Deep Gradient Compression", ICLR 2018, arXiv:1712.01887: a
thousandth of the gradient is enough, without loss of accuracy (synchronous, CIFAR-10,
ResNet-110).
Put to the test with top-k and error feedback and with PowerSGD (Vogels et al., 2019,
arXiv:1905.13727) beside it, and asynchronously with parts of gradients and of
parameters (Yan, 2019, arXiv:1910.10929). There Kurochkin (GRID'2021, CEUR-WS 3041,
p. 202) had 0.926 beside 0.939 of plain SGD, on CIFAR with 6 nodes.

    python -m benchmarks.papers.compression [--quick]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.papers.averages import chosen, each, mean, percent
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import EVEN
from benchmarks.papers.command import command
from benchmarks.papers.contenders import HEAVY_BALL
from benchmarks.papers.records import Results
from benchmarks.papers.runs import ALLREDUCE, NONE, Run
from benchmarks.papers.verdicts import Statement, Verdict
from benchmarks.report import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANKS, BATCH, EPOCHS = 4, 32, 5
SEEDS = (0, 1, 2)
EPOCH = 50_000 // BATCH // RANKS * RANKS  # gradients of all together
# Of the runs without compression. The rate with momentum 0.9 is a tenth of the first;
# an image moves the parameters as far in both kinds, in the long run, at 1 and 0.25.
RATES: Mapping[str, tuple[float, ...]] = {
    ALLREDUCE: (0.5, 1.0, 2.0),
    "asp": (0.03125, 0.0625, 0.125, 0.25),
}
RATE = {ALLREDUCE: 1.0, "asp": 0.0625}
DGC = f"dgc:0.001,warmup={EPOCH // RANKS}steps"  # one epoch
TOP_K, POWER_SGD = "topk:0.01", "powersgd:4"
# Of accuracy, which may be so much lower than without compression.
MARGINS: Mapping[str, Mapping[str, float]] = {
    ALLREDUCE: {DGC: 0.005, TOP_K: 0.01, POWER_SGD: 0.01},
    "asp": {TOP_K: 0.01},
}
TITLES = {ALLREDUCE: "synchronous", "asp": "asynchronous"}
SEARCH = "search for a rate"

RULE = (
    "A statement holds where the mean test accuracy over the seeds, at the end of "
    "training, is lower than that without compression by no more than the margin; "
    "else it does not hold. A claim holds where all its statements hold, does not hold "
    "where none holds, and else holds partly."
)
SETTINGS = f"""\
CIFAR-10 mirrored at random, a residual network of 8 weight layers with group
normalisation (78 thousand parameters), {EPOCHS} epochs, the rate times 0.1 after one
half and after three quarters; first values and batches of a seed are alike in all runs.

* *Synchronous*: {RANKS} ranks of HFDT, batch {BATCH} each, SGD with momentum 0.9 and
  rate {RATE[ALLREDUCE] / 10:g}. Ranks are threads of one process; what they do to their
  gradients is the code of `hfdt run --compression`. `{DGC}` has a warm-up of one epoch.
  No gradient is clipped.
* *Asynchronous*: {RANKS} workers of NFDT, batch {BATCH}, `--consistency asp`, even
  times in virtual time, plain SGD with rate {RATE["asp"]:g}. `{TOP_K}` is that of
  `nfdt run --wire`, both ways, with all parameters at the start alone: a real job sends
  them at the end of each epoch.

The paper trains ResNet-110 with 1.7 million parameters for 164 epochs: these are 3 % of
its images on 5 % of its parameters. Variables that are too small to be compressed are
3 % of the parameters here. The warm-up of `dgc` is a fifth of the training
here. In a small network a thousandth is very little: 37 elements of the largest kernel,
3 of the smallest that is compressed."""


def runs(quick: bool) -> list[Run]:
    """Returns all runs, seed by seed."""
    if quick:
        return _runs(0, RANKS, {name: (rate,) for name, rate in RATE.items()})
    return [run for seed in SEEDS for run in _runs(seed, EPOCH, RATES)]


def _runs(seed: int, epoch: int, searched: Mapping[str, Sequence[float]]) -> list[Run]:
    search = [
        _run(seed, epoch, 1, consistency, NONE, rate)
        for consistency, rates in searched.items()
        for rate in rates
    ]
    return search + [
        _run(
            *(seed, EPOCHS * epoch, EPOCHS),
            *(consistency, compression, RATE[consistency]),
        )
        for consistency, margins in MARGINS.items()
        for compression in (NONE, *margins)
    ]


def _run(
    seed: int,
    steps: int,
    looks: int,
    consistency: str,
    compression: str,
    rate: float,
) -> Run:
    return Run(
        work="cifar10_residual",
        algorithm=HEAVY_BALL if consistency == ALLREDUCE else "asgd",
        workers=RANKS,
        times=EVEN,
        rate=rate,
        seed=seed,
        steps=steps,
        drops=(0.5, 0.75),
        consistency=consistency,
        looks=looks,
        compression=compression,
    )


def case(run: Run) -> str:
    """Returns within what a run is compared: the search for a rate is apart."""
    return SEARCH if run.looks == 1 else TITLES[run.consistency]


def _of(results: Results, name: str) -> Results:
    return {run: outcome for run, outcome in results.items() if case(run) == name}


def judge(results: Results) -> list[Statement]:
    """Compares each compression with none."""
    return [
        _statement(_of(results, TITLES[consistency]), compression, margin)
        for consistency, margins in MARGINS.items()
        for compression, margin in margins.items()
    ]


def _statement(found: Results, compression: str, margin: float) -> Statement:
    if not found:
        return Statement(compression, Verdict.OPEN, "no seed is complete")
    text = f"{case(next(iter(found)))} `{compression}` within {margin:.1%} of dense"
    own, dense = (mean(found, compression=name) for name in (compression, NONE))
    # Sums of a few seeds' accuracies are rounded.
    holds = own >= dense - margin - 1e-9
    return Statement(
        text,
        Verdict.HOLDS if holds else Verdict.FAILS,
        f"{own:.2%} beside {dense:.2%}; differences of the seeds "
        f"{_differences(found, compression)}",
    )


def _differences(found: Results, compression: str) -> str:
    """Says how far each seed is above dense, in % of accuracy."""
    pairs = zip(
        chosen(found, compression=compression).values(),
        chosen(found, compression=NONE).values(),
        strict=True,
    )
    return ", ".join(
        f"{100 * (one.accuracy - dense.accuracy):+.2f}" for one, dense in pairs
    )


def tables(results: Results) -> str:
    """Returns accuracies and bytes, and how far seeds are apart."""
    rows = []
    for title in _titles(results):
        found = _of(results, title)
        for name in each(found, "compression"):
            bytes_of = (
                mean(found, of, compression=name)
                for of in (lambda o: o.sent, lambda o: o.received)
            )
            rows.append(
                [
                    f"{title}, {name}",
                    percent(found, compression=name),
                    "-" if name == NONE else _differences(found, name),
                    *(f"1/{1 / share:.3g}" for share in bytes_of),
                ]
            )
    header = ["", "test accuracy, %", "beside dense, by seed", "sent", "received"]
    return "\n\n".join(
        [
            "Mean +- standard deviation over the seeds. Sent and received: bytes of a "
            "rank or worker beside those of dense vectors, over the whole training, "
            "warm-up and variables that are not compressed included.",
            table(header, rows),
            _spread(results),
            _search(results),
        ]
    )


def _titles(results: Results) -> list[str]:
    return [title for title in TITLES.values() if _of(results, title)]


def _spread(results: Results) -> str:
    """Says how large chance is beside the margins."""
    spreads = []
    for title in _titles(results):
        dense = chosen(_of(results, title), compression=NONE).values()
        spread = np.ptp([one.accuracy for one in dense])
        spreads.append(f"{100 * spread:.2f} % ({title})")
    found = " and ".join(spreads)
    return (
        "Dense runs that differ by their seed alone are up to "
        f"{found} of accuracy apart; the margins are 0.5 and 1 %. A difference that is "
        "smaller than that of seeds may be chance."
    )


def _search(results: Results) -> str:
    """Says what the rate was chosen from."""
    rows = []
    for consistency, title in TITLES.items():
        found = chosen(_of(results, SEARCH), consistency=consistency)
        for rate in each(found, "rate"):
            as_given = rate / 10 if consistency == ALLREDUCE else rate
            rows.append([f"{title}, {as_given:g}", percent(found, rate=rate)])
    return (
        "Rates were chosen by one epoch without compression, on seed 0, and are the "
        "same with it:\n\n" + table(["rate", "test accuracy, %"], rows)
    )


def draw(figure: Figure, results: Results) -> None:
    """Draws accuracy over the epochs, synchronous beside asynchronous."""
    titles = _titles(results)
    figure.set_size_inches(5.2 * len(titles), 4.2)
    panels = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0]
    for title, panel in zip(titles, panels, strict=True):
        _draw_case(panel, _of(results, title))
        panel.set_title(title)
        panel.set_xlabel("epoch")
        panel.set_xticks(range(1, EPOCHS + 1))
        panel.legend()
    panels[0].set_ylabel("test accuracy")


def _draw_case(panel: Axes, results: Results) -> None:
    for name in each(results, "compression"):
        curves = [o.accuracies for o in chosen(results, compression=name).values()]
        length = min(map(len, curves))  # one that has diverged ends early
        values = np.array([curve[:length] for curve in curves])
        panel.errorbar(
            *(range(1, length + 1), values.mean(0), values.std(0)),
            label=name,
            color="black" if name == NONE else None,
            capsize=3,
        )


CLAIM = Claim(
    "compression",
    "Compressed gradients on CIFAR-10: within 0.5 and 1 % of dense ones",
    __doc__,
    SETTINGS,
    runs,
    case,
    judge,
    tables,
    draw,
    rule=RULE,
)
main = command([CLAIM], CLAIM.title)

if __name__ == "__main__":
    main()
