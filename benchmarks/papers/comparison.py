"""DDC-ASGD beside its predecessors and peers: what both data sets share.

The thesis that names DC-ASGDK and DDC-ASGD is known by its abstract only
(docs/ddc-asgd.md): in test accuracy DDC-ASGD is above DC-ASGDK and above ASGD, on
Fashion-MNIST and CIFAR-10. Put to the test is the form of the table of algorithms,
beside other forms of it and other ways of dealing with delays.
"""

from __future__ import annotations

from benchmarks.papers import comparison_page as page
from benchmarks.papers.averages import best_rate, chosen, mean
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import EVEN, EXPONENTIAL, HETEROGENEOUS
from benchmarks.papers.contenders import BOTH, DEFAULT, MOMENTUM, TAYLOR
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import Statement, compare, state
from benchmarks.papers.works import WORKS

SEEDS = (0, 1, 2)
WORKERS = (4, 8, 16)
TIMES = (EVEN, HETEROGENEOUS, EXPONENTIAL)
RATES = (0.05, 0.1, 0.2, 0.3, 0.4)
STEPS = 938  # the batches of one epoch of Fashion-MNIST
RIVALS = ("dc-asgdk", "asgd")
ALGORITHMS = (
    "asgd",
    "dc-asgdk",
    BOTH,
    MOMENTUM,
    TAYLOR,
    "dc-asgd-a",
    "gap-aware",
    "staleness-aware",
    "dana-slim",
)

_SETTINGS = """\
{work}, batch {batch}, {steps} gradients of all workers together, the rate times 0.1
for the last fifth; rates {rates}; seeds {seeds}. Workers in virtual time: *even*
(gamma, coefficient of variation 0.1), *heterogeneous* (the same about means that
spread by V_mach = 0.6), *exponential*. All runs of a seed begin with the same values
and see the same batches in the same order. With one worker all algorithms are the
same, so it runs once.

* DDC-ASGD in its three forms, named by their terms; that of the table of algorithms,
  which the verdict is about, is `{default}`.
* `dana-slim` has momentum 0.9; the rate is multiplied by 0.1 there."""


def claim(work: str, name: str, text: str) -> Claim:
    """Returns the claim for one data set.

    Args:
        work: A key of ``WORKS``.
        name: Of the module.
        text: Its docstring.
    """
    return Claim(
        name,
        f"DDC-ASGD above DC-ASGDK and ASGD: {WORKS[work].title}",
        text,
        _SETTINGS.format(
            work=WORKS[work].title,
            batch=WORKS[work].batch,
            steps=STEPS,
            rates=", ".join(map(str, RATES)),
            seeds=", ".join(map(str, SEEDS)),
            default=DEFAULT,
        ),
        lambda quick: _quick(work) if quick else _full(work),
        lambda run: (run.workers, run.times),
        judge,
        page.tables,
        page.draw,
    )


def _full(work: str) -> list[Run]:
    """Returns all runs; one worker first, as all others are measured by it."""
    grid = [(1, EVEN)] + [(count, times) for count in WORKERS for times in TIMES]
    return [
        Run(work, algorithm, count, times, rate, seed, STEPS)
        for seed in SEEDS
        for count, times in grid
        for algorithm in (ALGORITHMS if count > 1 else ("asgd",))
        for rate in RATES
    ]


def _quick(work: str) -> list[Run]:
    alone = Run(work, "asgd", 1, EVEN, 0.1, 0, 20)
    others = [Run(work, name, 4, EXPONENTIAL, 0.1, 0, 20) for name in ALGORITHMS]
    return [alone, *others]


def judge(results: Results) -> list[Statement]:
    """Compares at the best rate of each algorithm, and at the user's: one worker's."""
    cases = page.cases(results)
    alone = chosen(results, workers=1)
    if not alone:
        return []
    rate = best_rate(alone)

    def at_best(name: str) -> list[float]:
        return [page.best(case, name) for case in cases]

    def at_own(name: str) -> list[float]:
        return [mean(case, algorithm=name, rate=rate) for case in cases]

    statements = []
    for rival in RIVALS:
        for where, values in (
            ("each at its best rate", at_best),
            (f"at one worker's best rate, {rate:g}", at_own),
        ):
            orders = list(map(compare, values(DEFAULT), values(rival)))
            statements.append(state(f"{DEFAULT} > {rival}, {where}", orders))
    return statements
