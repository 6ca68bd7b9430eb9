"""Tables and picture of a comparison of algorithms over learning rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.papers.averages import (
    accuracy,
    best_rate,
    chosen,
    each,
    mean,
    percent,
)
from benchmarks.papers.contenders import BOTH, MOMENTUM, TAYLOR
from benchmarks.papers.pictures import legend_below, line
from benchmarks.papers.records import Results
from benchmarks.report import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A rate is survived where the accuracy is so close to one worker's at its best rate.
SURVIVAL_MARGIN = 0.1
SUBJECTS = ("asgd", "dc-asgdk", BOTH, MOMENTUM, TAYLOR)


def cases(results: Results) -> list[Results]:
    """Returns the results of several workers, by their number and times."""
    return [
        case
        for count in sorted(set(each(results, "workers")) - {1})
        for times in each(chosen(results, workers=count), "times")
        if (case := chosen(results, workers=count, times=times))
    ]


def best(case: Results, algorithm: str) -> float:
    """Returns the mean accuracy of an algorithm at its best rate."""
    rate = best_rate(case, algorithm=algorithm)
    return mean(case, algorithm=algorithm, rate=rate)


def survived(case: Results, algorithm: str, bar: float) -> list[float]:
    """Returns the longest stretch of neighbouring rates that are not below a bar."""
    stretches: list[list[float]] = [[]]
    for rate in sorted(each(chosen(case, algorithm=algorithm), "rate")):
        if mean(case, algorithm=algorithm, rate=rate) >= bar:
            stretches[-1].append(rate)
        else:
            stretches.append([])
    return max(stretches, key=len)


def tables(results: Results) -> str:
    """Returns the accuracies, the rates survived, and how late gradients were."""
    found = cases(results)
    alone = chosen(results, workers=1)
    top = max(mean(alone, rate=rate) for rate in each(alone, "rate"))
    bar = top - SURVIVAL_MARGIN
    late = "; ".join(f"{_title(case)} {_staleness(case)}" for case in found)
    return "\n\n".join(
        [
            f"One worker at its best rate, {best_rate(alone):g}: {top:.2%}. Means over "
            "all cases, of the accuracy in % and of the number of rates survived:",
            _summary(found, best_rate(alone), bar),
            "Test accuracy in %, mean +- standard deviation over the seeds, each "
            "algorithm at its best rate, which stands behind the @:",
            _table(found, _best_cell),
            f"Rates survived, without a gap, with an accuracy of at least {bar:.2%}, "
            f"which is {SURVIVAL_MARGIN:.0%} less than one worker's:",
            _table(found, lambda case, name: _survival_cell(case, name, bar)),
            f"Staleness, mean and greatest: {late}.",
        ]
    )


def _summary(found: list[Results], rate: float, bar: float) -> str:
    """Returns a row for each algorithm, over all cases.

    Args:
        found: The cases.
        rate: The best of one worker.
        bar: Of survival.
    """
    rows = []
    for name in _algorithms(found):
        at_best = np.mean([best(case, name) for case in found])
        at_own = np.mean([mean(case, algorithm=name, rate=rate) for case in found])
        count = np.mean([len(survived(case, name, bar)) for case in found])
        cells = (f"{100 * at_best:.1f}", f"{100 * at_own:.1f}", f"{count:.1f}")
        rows.append([name, *cells])
    header = ["algorithm", "at its best rate", f"at one worker's, {rate:g}", "survived"]
    return table(header, rows)


def _algorithms(found: list[Results]) -> list[str]:
    return list(
        dict.fromkeys(name for case in found for name in each(case, "algorithm"))
    )


def _table(found: list[Results], cell: Callable[[Results, str], str]) -> str:
    rows = [
        [name, *(cell(case, name) for case in found)] for name in _algorithms(found)
    ]
    return table(["algorithm", *map(_title, found)], rows)


def _best_cell(case: Results, algorithm: str) -> str:
    rate = best_rate(case, algorithm=algorithm)
    return f"{percent(case, algorithm=algorithm, rate=rate)} @{rate:g}"


def _survival_cell(case: Results, algorithm: str, bar: float) -> str:
    rates = survived(case, algorithm, bar)
    if not rates:
        return "none"
    width = rates[-1] / rates[0]
    return f"{rates[0]:g} .. {rates[-1]:g} (x{width:.0f})"


def _title(case: Results) -> str:
    run = next(iter(case))
    return f"{run.workers} {run.times}"


def _staleness(case: Results) -> str:
    whole = [outcome for outcome in case.values() if not outcome.diverged]
    middle = sum(outcome.mean_staleness for outcome in whole) / max(1, len(whole))
    return f"{middle:.1f}, {max(outcome.max_staleness for outcome in case.values())}"


def draw(figure: Figure, results: Results) -> None:
    """Draws accuracy over the rate: a row for each number of workers."""
    several = {run: outcome for run, outcome in results.items() if run.workers > 1}
    counts, times = each(several, "workers"), each(several, "times")
    rows, columns = len(counts), len(times)
    figure.set_size_inches(4.2 * columns + 0.6, 3.0 * rows + 1.6)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for count, row in zip(counts, panels):
        for name, panel in zip(times, row):
            case = chosen(several, workers=count, times=name)
            panel.set_visible(bool(case))
            panel.set_title(f"{count} {name}")
            _draw_case(panel, case, chosen(results, workers=1))
    for panel in panels[:, 0]:
        panel.set_ylabel("test accuracy")
    for panel in panels[-1]:
        panel.set_xlabel("learning rate")
    legend_below(panels.flat[0])


def _draw_case(panel: Axes, case: Results, alone: Results) -> None:
    rates = sorted(each(alone, "rate"))
    for algorithm in each(case, "algorithm"):
        own = chosen(case, algorithm=algorithm)
        points = {
            rate: [accuracy(outcome) for outcome in chosen(own, rate=rate).values()]
            for rate in rates
        }
        stands_out = algorithm in SUBJECTS
        line(panel, algorithm, points, label=algorithm, stands_out=stands_out)
    means = [mean(alone, rate=rate) for rate in rates]
    panel.plot(rates, means, ":", color="black", lw=1.5, label="one worker")
    panel.set_xscale("log")
    panel.set_xticks(rates, [f"{rate:g}" for rate in rates])
    panel.minorticks_off()
