"""What the claims about DSP have in common: runs, comparisons, tables and picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.papers.averages import accuracy, chosen, each, mean, percent
from benchmarks.papers.pictures import legend_below
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Outcome, Run
from benchmarks.papers.verdicts import Order, compare
from benchmarks.report import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS = (2, 4, 8)
SEEDS = (0, 1, 2)
STEPS, RATE = 1500, 0.02
_NEVER = 1_000_000  # w: nobody makes so many steps
MESSAGE_S = 0.05
TIME_MARGIN = 0.02  # of a time: less is no difference

SETTINGS = f"""\
LeNet-5 with batch 64 as in the paper, on Fashion-MNIST in place of MNIST; {STEPS} steps
of all workers together in place of 10 000; rate {RATE:g}, which never falls. What the
workers of a round have found is added up, under BSP as under DSP. A step takes 1 s of
virtual time on average, a message with a gradient or the parameters {MESSAGE_S:g} s of
the server's link. As we read it, the paper's SSP does not synchronise until the gap is
s; in that of Ho et al. (`ssp:3`) every gradient is applied as it comes. Times differ by
more than {TIME_MARGIN:.0%} or not at all."""


def paper_ssp(stale: int) -> str:
    """Returns SSP as the paper describes it: nobody synchronises until the gap is s."""
    return f"dsp:s={stale},w={_NEVER},fixed"


def title(consistency: str) -> str:
    """Returns what tables and pictures call a way of waiting."""
    return consistency.replace(f",w={_NEVER},fixed", " without w (the paper's SSP)")


def runs(times: str, consistencies: Sequence[str], quick: bool) -> list[Run]:
    """Returns all runs, seed by seed."""
    seeds, workers, steps = ((0,), (2, 4), 24) if quick else (SEEDS, WORKERS, STEPS)
    return [
        _run(consistency, count, times, seed, steps)
        for seed in seeds
        for count in workers
        for consistency in consistencies
    ]


def _run(consistency: str, workers: int, times: str, seed: int, steps: int) -> Run:
    rate, worker_rate = RATE, 0.0
    if consistency == "bsp":
        rate = RATE * workers  # of the mean: as of the sum at the rate itself
    if consistency.startswith("dsp"):
        rate, worker_rate = 1.0, RATE  # the server adds up the workers' own steps
    return Run(
        "lenet5",
        "asgd",
        workers,
        times,
        rate,
        seed,
        steps,
        drops=(),
        consistency=consistency,
        worker_rate=worker_rate,
        message_s=MESSAGE_S,
    )


def whole(run: Run) -> tuple[()]:
    """All runs of a seed are compared with each other."""
    del run
    return ()


def cases(results: Results) -> list[Results]:
    """Returns the results by number of workers."""
    return [chosen(results, workers=count) for count in each(results, "workers")]


def accuracies(cases: Sequence[Results], one: str, other: str) -> list[Order]:
    """Compares the accuracy of two ways of waiting in each case."""
    return [
        compare(*(mean(case, consistency=name) for name in (one, other)))
        for case in cases
    ]


def times(cases: Sequence[Results], one: str, other: str) -> list[Order]:
    """Compares the time of two ways of waiting in each case."""
    pairs = [[mean(c, time_s, consistency=n) for n in (one, other)] for c in cases]
    return [compare(mine / theirs, 1.0, TIME_MARGIN) for mine, theirs in pairs]


def time_s(outcome: Outcome) -> float:
    """Returns the virtual time."""
    return outcome.time_s


def tables(results: Results) -> str:
    """Returns accuracy, time and waiting for each number of workers."""
    rows = []
    for case in cases(results):
        for name in each(case, "consistency"):
            own = chosen(case, consistency=name)
            late = mean(own, lambda outcome: outcome.mean_staleness)
            rows.append(
                [
                    f"{each(case, 'workers')[0]}, {title(name)}",
                    percent(own),
                    f"{mean(own, time_s):.0f}",
                    f"{mean(own, lambda outcome: outcome.waiting):.0%}",
                    f"{late:.1f}",
                ]
            )
    names = ("workers, consistency", "test accuracy, %", "time, s")
    return table([*names, "waiting", "staleness"], rows)


def draw(figure: Figure, results: Results) -> None:
    """Draws accuracy and time over the number of workers."""
    figure.set_size_inches(10, 5)
    left, right = figure.subplots(1, 2)
    counts = each(results, "workers")
    for index, name in enumerate(each(results, "consistency")):
        own = chosen(results, consistency=name)
        for panel, of in ((left, accuracy), (right, time_s)):
            means = [mean(own, of, workers=count) for count in counts]
            panel.plot(counts, means, color=f"C{index}", lw=2, label=title(name))
            for run, outcome in own.items():
                panel.plot(run.workers, of(outcome), "o", color=f"C{index}", alpha=0.5)
    for panel, what in ((left, "test accuracy"), (right, "virtual time, s")):
        panel.set_xticks(counts)
        panel.set_xlabel("workers")
        panel.set_ylabel(what)
    legend_below(left, columns=3)
