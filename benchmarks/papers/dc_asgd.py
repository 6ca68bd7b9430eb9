"""DC-ASGD's ordering on CIFAR-10: sequential SGD, ASGD, DC-ASGD-c, DC-ASGD-a.

Claim: Zheng et al., "Asynchronous Stochastic Gradient Descent with Delay Compensation",
ICML 2017, arXiv:1609.08326, CIFAR-10 with 4 and 8 workers: DC-ASGD-a is above
DC-ASGD-c, which is above ASGD, and DC-ASGD-a is not below sequential SGD.

    python -m benchmarks.papers.dc_asgd [--quick]
"""

from __future__ import annotations

from benchmarks.papers import comparison_page as page
from benchmarks.papers.averages import best_rate, chosen, mean
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import EVEN
from benchmarks.papers.command import command
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import Statement, compare, state

ALGORITHMS = ("asgd", "dc-asgd-c", "dc-asgd-a")
WORKERS = (4, 8)
RATES = (0.05, 0.1, 0.2, 0.4)
SEEDS = (0, 1, 2)
STEPS = 2343  # three epochs

SETTINGS = f"""\
CIFAR-10, three strided convolutions without batch normalisation, batch 64, {STEPS}
gradients of all workers together (three epochs), even workers, the rate times 0.1
after one half and after three quarters, rates {", ".join(map(str, RATES))}. The paper
trains ResNet-20 for 160 epochs at rate 0.5 and batch 128, with the rate times 0.1 at
the same shares: these are 2 % of its images, on a smaller network. DC-ASGD-c has
strength 0.04, DC-ASGD-a 2 with decay 0.95. The order is that of each algorithm's best
rate."""


def runs(quick: bool) -> list[Run]:
    """Returns all runs, seed by seed; one worker first."""
    seeds, rates, steps = ((0,), (0.1,), 20) if quick else (SEEDS, RATES, STEPS)
    grid = [(1, ("asgd",)), *((count, ALGORITHMS) for count in WORKERS)]
    return [
        Run("cifar10", algorithm, count, EVEN, rate, seed, steps, drops=(0.5, 0.75))
        for seed in seeds
        for count, algorithms in grid
        for algorithm in algorithms
        for rate in rates
    ]


def judge(results: Results) -> list[Statement]:
    """Compares neighbours in the paper's order, each at its best rate."""
    alone = chosen(results, workers=1)
    cases = page.cases(results)
    if not alone:
        return []
    sequential = mean(alone, rate=best_rate(alone))

    def orders(one: str, other: str) -> list:
        return [compare(page.best(case, one), page.best(case, other)) for case in cases]

    above = [compare(page.best(case, "dc-asgd-a"), sequential) for case in cases]
    below = [compare(sequential, page.best(case, "asgd")) for case in cases]
    return [
        state("DC-ASGD-a > DC-ASGD-c", orders("dc-asgd-a", "dc-asgd-c")),
        state("DC-ASGD-c > ASGD", orders("dc-asgd-c", "asgd")),
        state("sequential SGD > ASGD", below),
        state("DC-ASGD-a >= sequential SGD", above, or_equal=True),
    ]


CLAIM = Claim(
    "dc_asgd",
    "DC-ASGD on CIFAR-10: above ASGD, and close to sequential SGD",
    __doc__,
    SETTINGS,
    runs,
    lambda run: run.workers,
    judge,
    page.tables,
    page.draw,
)
main = command([CLAIM], CLAIM.title)

if __name__ == "__main__":
    main()
