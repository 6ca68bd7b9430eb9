"""The picture: a step's time over the size of the step."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.ratios import Spread, paired_ratios, speeds, spread
from benchmarks.steps.contenders import CONTENDERS
from benchmarks.steps.works import WORKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCE = "copies"  # what they take is the size of the step
# Contender -> its color and mark.
SERIES = {
    "hand": ("tab:gray", "s"),
    "hfdt": ("tab:blue", "o"),
    "nfdt-asgd": ("tab:orange", "^"),
    "nfdt": ("tab:red", "v"),
}
# In a fit of one batch after the other there is hardly a steady state.
DRAWN = tuple(name for name in WORKS if name != "fit")
_TARGET = 1 / 0.9  # of most works: 0.9 of the copies' speed


class Point(NamedTuple):
    """One contender's step in one work."""

    work: str
    size_ms: float  # the copies' step
    step_ms: float
    ratio: Spread  # to the copies', within rounds


def points(works: Mapping[str, Any], name: str) -> list[Point]:
    """Return the steps of a contender, from the least to the greatest.

    Args:
        works: As they stand in the file of figures.
        name: The contender's.
    """
    found = []
    for work, figures in works.items():
        rounds = [
            {one: step["step_ms"] for one, step in steps.items()}
            for steps in figures["rounds"]
            if work in DRAWN
        ]
        ratios = paired_ratios(rounds, name, REFERENCE)
        if ratios:
            size_ms, step_ms = (
                statistics.median(speeds(rounds, one)) for one in (REFERENCE, name)
            )
            # The slope of a few steps may be negative, and no logarithm shows it.
            if min(size_ms, step_ms) > 0:
                found.append(Point(work, size_ms, step_ms, spread(ratios)))
    return sorted(found, key=lambda point: point.size_ms)


def draw(path: Path, works: Mapping[str, Any]) -> None:
    """Write a PNG, where there is a point: milliseconds above, ratios below.

    Args:
        path: The file.
        works: As they stand in the file of figures.
    """
    sizes = points(works, REFERENCE)
    if not sizes:
        return
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(11, 11), height_ratios=(3, 2)
    )
    _draw_times(above, sizes, works)
    _draw_ratios(below, sizes, works)
    figure.suptitle(f"What a step costs\n{_subtitle(works)}")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_times(
    panel: "Axes", sizes: Sequence[Point], works: Mapping[str, Any]
) -> None:
    x = [point.size_ms for point in sizes]
    panel.plot(x, x, color="black", lw=1, marker=".", label=_title(REFERENCE))
    for name, (color, mark) in SERIES.items():
        own = points(works, name)
        panel.plot(
            [point.size_ms for point in own],
            [point.step_ms for point in own],
            color=color,
            marker=mark,
            lw=0.8,
            alpha=0.85,
            label=_title(name),
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(
            lambda value, _: f"{value:g}" if f"{value:g}"[0] in "2346" else ""
        )
    panel.grid(color="lightgray", lw=0.6, which="both")
    panel.set_xlabel("size of the step: ms that it takes copies of plain Keras")
    panel.set_ylabel("ms a step")
    panel.legend(loc="upper left")


def _draw_ratios(
    panel: "Axes", sizes: Sequence[Point], works: Mapping[str, Any]
) -> None:
    """Draw a column for each work: points so near above cannot be told apart there."""
    columns = {point.work: index for index, point in enumerate(sizes)}
    for index, (name, (color, mark)) in enumerate(SERIES.items()):
        own = points(works, name)
        aside = 0.15 * (index - (len(SERIES) - 1) / 2)
        ratios = [point.ratio for point in own]
        panel.errorbar(
            [columns[point.work] + aside for point in own],
            [ratio.median for ratio in ratios],
            yerr=(
                [ratio.median - ratio.low for ratio in ratios],
                [ratio.high - ratio.median for ratio in ratios],
            ),
            color=color,
            marker=mark,
            ls="none",
            capsize=2,
        )
    panel.axhline(1.0, color="black", lw=1)
    panel.axhline(_TARGET, color="black", lw=1, ls=":")
    labels = [f"{point.work}\n{point.size_ms:.1f} ms" for point in sizes]
    panel.set_xticks(range(len(sizes)), labels, rotation=30, ha="right", fontsize=8)
    panel.grid(color="lightgray", lw=0.6, axis="y")
    panel.set_ylabel(
        "times the copies' step; bars: rounds\n(dotted: 0.9 of the copies' speed)"
    )


def _title(name: str) -> str:
    return CONTENDERS[name].title


def _subtitle(works: Mapping[str, Any]) -> str:
    drawn = [figures for work, figures in works.items() if work in DRAWN]
    rounds = sorted({len(figures["rounds"]) for figures in drawn})
    counts = " to ".join(str(n) for n in dict.fromkeys((rounds[0], rounds[-1])))
    first = drawn[0]
    return f"{first['processes']} processes on {first['cores']} cores, rounds: {counts}"
