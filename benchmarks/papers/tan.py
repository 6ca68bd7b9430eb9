"""The table of accuracies that comes with the rules of DC-ASGDK and DDC-ASGD.

Claim: Tan, programs NMDC-ASGD (2019) and DASGD (2020): CIFAR-10, test accuracy with 3,
6 and 12 workers. Its MDC-ASGD is our dc-asgdk, its NMDC-ASGD our reconstruction without
the Taylor term and with the q of those programs (docs/ddc-asgd.md).

    python -m benchmarks.papers.tan [--quick]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.papers import comparison_page as page
from benchmarks.papers.averages import chosen, each, mean, percent
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import EVEN
from benchmarks.papers.command import command
from benchmarks.papers.contenders import MOMENTUM
from benchmarks.papers.pictures import line
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import Statement, compare, state
from benchmarks.report import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS = (3, 6, 12)
OF_WORKERS = {3: f"{MOMENTUM} q=2", 6: f"{MOMENTUM} q=5", 12: f"{MOMENTUM} q=10"}
SEEDS = (0, 1, 2)
SHARE = 0.02  # of the pushes of the recipe
STEPS = round(SHARE * 62_400)
# Workers -> accuracies of ASGD, MDC-ASGD, NMDC-ASGD in their own table.
PUBLISHED = {
    1: (0.8571,),
    3: (0.8337, 0.8401, 0.8556),
    6: (0.8046, 0.8263, 0.8433),
    12: (0.1, 0.7948, 0.8322),
}

SETTINGS = f"""\
The recipe of those programs but for its length: two 5 x 5 convolutions of 64
channels, two hidden layers of 1024 units (L2 0.004), first values as in the tutorial
that they are taken from; crops of 24 x 24, mirrored, of random brightness and
contrast; batch 128, rate 0.1, times 0.1 after each quarter. {STEPS} gradients of all
workers together, which is {SHARE:.0%} of the 62 400 there: accuracies are much lower
than published, and what is compared is their order. Even workers. Each batch is drawn
anew from all images; there, each worker reads all of them in stored order."""


def runs(quick: bool) -> list[Run]:
    """Returns all runs, seed by seed; one worker first."""
    seeds, workers, steps = ((0,), (3,), 2) if quick else (SEEDS, WORKERS, STEPS)
    grid = [(1, "asgd")]
    for count in workers:
        grid += [(count, name) for name in ("asgd", "dc-asgdk", OF_WORKERS[count])]
    return [
        Run("tan", name, count, EVEN, 0.1, seed, steps, drops=(0.25, 0.5, 0.75))
        for seed in seeds
        for count, name in grid
    ]


def judge(results: Results) -> list[Statement]:
    """Compares neighbours in the order of the table."""
    ddc_mdc, mdc_asgd, sgd_ddc = [], [], []
    alone = chosen(results, workers=1)
    for case in page.cases(results):
        asgd, mdc, ddc = (
            mean(case, algorithm=name) for name in each(case, "algorithm")
        )
        ddc_mdc.append(compare(ddc, mdc))
        mdc_asgd.append(compare(mdc, asgd))
        if alone:
            sgd_ddc.append(compare(mean(alone), ddc))
    return [
        state("DDC-ASGD (NMDC-ASGD) > DC-ASGDK (MDC-ASGD)", ddc_mdc),
        state("DC-ASGDK (MDC-ASGD) > ASGD", mdc_asgd),
        state("one worker >= DDC-ASGD", sgd_ddc, or_equal=True),
    ]


def tables(results: Results) -> str:
    """Returns accuracies beside the published ones."""
    rows = []
    for count in each(results, "workers"):
        case = chosen(results, workers=count)
        for name, published in zip(each(case, "algorithm"), PUBLISHED[count]):
            own = percent(case, algorithm=name)
            rows.append([f"{count}, {name}", own, f"{100 * published:.1f}"])
    return table(["workers, algorithm", "test accuracy, %", "published, %"], rows)


def draw(figure: Figure, results: Results) -> None:
    """Draws accuracy over the number of workers."""
    figure.set_size_inches(7, 4.5)
    panel = figure.subplots()
    counts = [count for count in each(results, "workers") if count > 1]
    for place, label in enumerate(("asgd", "dc-asgdk", "ddc-asgd, q of the programs")):
        points, name = {}, label
        for count in counts:
            case = chosen(results, workers=count)
            name = each(case, "algorithm")[place]
            own = chosen(case, algorithm=name)
            points[count] = [outcome.accuracy for outcome in own.values()]
        line(panel, name, points, label=label)
    alone = chosen(results, workers=1)
    if alone:
        panel.axhline(mean(alone), ls=":", color="black", label="one worker")
    panel.set_xticks(counts)
    panel.set_xlabel("workers")
    panel.set_ylabel("test accuracy")
    panel.legend()


CLAIM = Claim(
    "tan",
    "The table of DDC-ASGD's own programs: CIFAR-10 with 3, 6 and 12 workers",
    __doc__,
    SETTINGS,
    runs,
    lambda run: run.workers,
    judge,
    tables,
    draw,
)
main = command([CLAIM], CLAIM.title)

if __name__ == "__main__":
    main()
