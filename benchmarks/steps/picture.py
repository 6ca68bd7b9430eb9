"""The picture: a step's time over the size of the step."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.ratios import paired_ratios, speeds
from benchmarks.steps.contenders import CONTENDERS

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
_TARGET = 1 / 0.9  # of most works: 0.9 of the copies' speed


class Point(NamedTuple):
    """One contender's step in one work."""

    work: str
    size_ms: float  # the copies' step
    step_ms: float
    ratio: float  # to the copies', within rounds


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
        ]
        ratios = paired_ratios(rounds, name, REFERENCE)
        if ratios:
            size_ms, step_ms = (
                statistics.median(speeds(rounds, one)) for one in (REFERENCE, name)
            )
            found.append(Point(work, size_ms, step_ms, statistics.median(ratios)))
    return sorted(found, key=lambda point: point.size_ms)


def draw(path: Path, works: Mapping[str, Any]) -> None:
    """Write a PNG: milliseconds above, ratios to the copies below.

    Args:
        path: The file.
        works: As they stand in the file of figures.
    """
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(11, 10), sharex=True, height_ratios=(3, 2)
    )
    sizes = points(works, REFERENCE)
    x = [point.size_ms for point in sizes]
    above.plot(x, x, color="black", lw=1, marker=".", label=_title(REFERENCE))
    below.axhline(1.0, color="black", lw=1)
    below.axhline(_TARGET, color="black", lw=1, ls=":")
    for name, (color, mark) in SERIES.items():
        own = points(works, name)
        own_x = [point.size_ms for point in own]
        style = {"color": color, "marker": mark, "lw": 0.8, "alpha": 0.85}
        above.plot(own_x, [p.step_ms for p in own], **style, label=_title(name))
        below.plot(own_x, [p.ratio for p in own], **style)
    _label(above, sizes)
    for panel in (above, below):
        panel.grid(color="lightgray", lw=0.6, which="both")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("{x:g}")
    above.set_yscale("log")
    above.yaxis.set_major_formatter("{x:g}")
    above.set_ylabel("ms a step")
    above.legend(loc="upper left")
    below.set_ylim(bottom=0.8)
    below.set_ylabel("times the copies' step\n(dotted: 0.9 of their speed)")
    below.set_xlabel("size of the step: ms that it takes copies of plain Keras")
    figure.suptitle(f"What a step costs\n{_subtitle(works)}")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _title(name: str) -> str:
    return CONTENDERS[name].title


def _label(panel: "Axes", sizes: list[Point]) -> None:
    """Write the works' names below their points, in steps that keep them apart."""
    for index, point in enumerate(sizes):
        panel.annotate(
            point.work,
            (point.size_ms, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 8 + 16 * (index % 6)),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        panel.axvline(point.size_ms, color="lightgray", lw=0.6, zorder=0)


def _subtitle(works: Mapping[str, Any]) -> str:
    one = next(iter(works.values()))
    rounds = sorted({len(figures["rounds"]) for figures in works.values()})
    counts = " to ".join(str(n) for n in dict.fromkeys((rounds[0], rounds[-1])))
    return f"{one['processes']} processes on {one['cores']} cores, {counts} rounds"
