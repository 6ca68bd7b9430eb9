"""The picture of a comparison: loss over the cluster's time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from nfdt.planning.outcome import Outcome, best, ordered

_COLOURS = (
    "#2B86C5",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
_DPI = 130


def draw(outcomes: Sequence[Outcome], target: float, path: Path) -> None:
    """Draws losses over time, and the times to a target.

    Args:
        outcomes: The runs.
        target: The loss.
        path: Of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, times = figure.subplots(1, 2, width_ratios=(1.6, 1))
    chosen = best(outcomes, target)
    rows = ordered(outcomes, target)[::-1]
    for index, one in enumerate(outcomes):
        colour = _COLOURS[index % len(_COLOURS)]
        width = 2.6 if one is chosen else 1.4
        losses.plot(one.times_s, one.losses, color=colour, lw=width, label=one.name)
        reaches_s = one.reaches_s(target)
        row = [other.name for other in rows].index(one.name)
        if one.keeps(target):
            times.barh(row, reaches_s, color=colour)
        else:
            said = "never" if math.isinf(reaches_s) else "lost again"
            times.text(0, row, f" {'failed' if one.problem else said}", va="center")
    losses.axhline(target, color="#777777", lw=1, ls=":")
    losses.set(xlabel="time of the cluster [s]", ylabel="training loss (running mean)")
    losses.legend(frameon=False)
    times.set_yticks(range(len(rows)), [one.name for one in rows])
    times.set_ylim(-0.6, len(rows) - 0.4)
    times.set(xlabel=f"time to loss {target:.3g} [s]")
    for axes in (losses, times):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)
