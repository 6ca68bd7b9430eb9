"""The panels of the picture of a run, each on axes of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fdtcore.telemetry import rows
from fdtcore.telemetry.theme import (
    BLUE,
    COMPUTING,
    EXCHANGING,
    GREEN,
    ORANGE,
    PINK,
    WAITING,
)
from fdtcore.telemetry.words import grouped
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.timeline import Spans, Table, Timeline, smooth
from nfdt.telemetry.worker_outcomes import epoch_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPS = (BLUE, ORANGE, GREEN, PINK)
_PARTS = (COMPUTING, WAITING, EXCHANGING)
_MOST_DOTS = 3000  # single losses; more would hide their mean
_LEAST_SMOOTHED = 9  # pushes in a running mean
_MOST_COUNTED = 40  # values of staleness with a bar each


def draw_loss(axes: Axes, table: Table, column: str, label: str) -> None:
    """Draws the losses of the pushes and their running mean.

    Args:
        axes: Axes to draw on.
        table: The pushes, by time.
        column: What is to the right.
        label: Label of the horizontal axis.
    """
    loss = table["loss"]
    if not np.isfinite(loss).any():
        axes.text(0.5, 0.5, "no losses in the trace", ha="center", va="center")
        axes.set_axis_off()
        return
    groups = np.unique(table["group"])
    means = []
    for index, group in enumerate(groups):
        mine = table[table["group"] == group]
        mine = mine[np.argsort(mine[column], kind="stable")]
        color = _GROUPS[index % len(_GROUPS)]
        mean = smooth(mine["loss"], max(_LEAST_SMOOTHED, len(mine) // 40))
        means.append(mean)
        some = mine[:: -(-len(mine) // _MOST_DOTS)]
        axes.plot(some[column], some["loss"], ".", ms=2, color=color, alpha=0.3)
        name = f"group {group}" if len(groups) > 1 else None
        axes.plot(mine[column], mean, color=color, lw=2, label=name)
    _fit_losses(axes, loss, np.concatenate(means))
    _mark_epochs(axes, table, column)
    axes.set_xlabel(label)
    axes.set_ylabel("loss of a batch, and running mean")
    if len(groups) > 1:
        axes.legend(loc="upper right")


def draw_timeline(
    axes: Axes,
    line: Timeline,
    workers: Sequence[int],
    ends: Mapping[int, Mapping[str, Any]],
) -> None:
    """Draws a row for each worker: its spans, or their shares where they are many."""
    most = max(len(spans.start_s) for spans in line.workers.values())
    is_fine = most <= rows.MOST_SPANS
    for row, worker in enumerate(workers):
        if (spans := line.workers.get(worker)) and is_fine:
            rows.draw_spans(axes, row, _edges(spans), _PARTS)
        elif spans:
            rows.draw_shares(axes, row, _edges(spans), _PARTS, line.end_s)
        end = ends.get(worker)
        if end is not None and end["kind"] != "finished":
            at_s = min(max(0.0, end["time_s"] - line.origin_s), line.end_s)
            rows.mark_end(axes, row, at_s, end["kind"])
    rows.draw_legend(axes, _legend(line))
    _name_rows(axes, workers)
    axes.set_xlim(0, line.end_s or 1)
    axes.set_xlabel("time in s")
    how = "; the height of a colour is its share of time"
    axes.set_title(f"What the workers did{'' if is_fine else how}")


def draw_staleness(axes: Axes, summary: Summary) -> None:
    """Draws how many pushes had which staleness."""
    from matplotlib.ticker import MaxNLocator

    values = sorted(summary.staleness)
    width = max(1, -(-(values[-1] + 1) // _MOST_COUNTED))  # in units of staleness
    counts: dict[int, int] = {}
    for value in values:
        start = value // width * width
        counts[start] = counts.get(start, 0) + summary.staleness[value]
    centres = [start + (width - 1) / 2 for start in counts]
    heights = [100 * count / summary.pushes for count in counts.values()]
    axes.bar(centres, heights, 0.9 * width, color=COMPUTING)
    axes.axvline(summary.mean_staleness, color=ORANGE, lw=1.5, ls="--")
    axes.set_xlim(-0.6, max(centres[-1] + width, 3.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("staleness in updates; dashed: mean")
    axes.set_ylabel("share of pushes in %")
    axes.set_title("How late gradients were")


def draw_pushes(axes: Axes, summary: Summary, workers: Sequence[int]) -> None:
    """Draws how many gradients each worker gave, or local steps it made."""
    count_of = summary.steps_of if summary.own_steps else summary.pushes_of
    counts = [count_of(worker) for worker in workers]
    axes.barh(range(len(workers)), counts, 0.7, color=COMPUTING)
    if rows.fits_names(len(workers)):
        for row, count in enumerate(counts):
            axes.annotate(grouped(count), (count, row), (4, 0), **rows.BESIDE)
    axes.margins(x=0.12)
    _name_rows(axes, workers)
    axes.set_xlabel("local steps" if summary.own_steps else "pushes")
    axes.set_title("Who did how much")


def _fit_losses(
    axes: Axes, loss: npt.NDArray[np.floating], means: npt.NDArray[np.floating]
) -> None:
    """Shows the mean and most losses; a few wild ones must not flatten the rest."""
    from matplotlib.ticker import LogLocator

    loss, means = loss[np.isfinite(loss)], means[np.isfinite(means)]
    low = min(float(np.quantile(loss, 0.01)), float(means.min()))
    high = max(float(np.quantile(loss, 0.99)), float(means.max()))
    if low > 0 and means.max() > 10 * means.min():
        axes.set_yscale("log", subs=[])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(low / 1.2, high * 1.2)
    elif high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _mark_epochs(axes: Axes, table: Table, column: str) -> None:
    table = table[table["epoch"] >= 0]
    epochs, first = np.unique(table["epoch"], return_index=True)
    if len(epochs) < 2:
        return
    style: dict[str, Any] = {"fontsize": 7, "ha": "left", "va": "top"}
    span = np.ptp(table[column])
    free = -np.inf  # where the next name would not touch the last one
    for epoch, row in zip(epochs, first, strict=True):
        x, name = table[column][row], epoch_name(int(epoch))
        if x >= free:
            free = x + 0.017 * len(name) * span
            axes.axvline(x, color="#808080", lw=0.7, ls=":", zorder=0)
            axes.text(
                x, 1.04, f" {name}", transform=axes.get_xaxis_transform(), **style
            )


def _edges(spans: Spans) -> tuple[rows.Times, ...]:
    return spans.start_s, spans.pushed_s, spans.waited_s, spans.released_s


def _legend(line: Timeline) -> list[tuple[str, str]]:
    found = [("computing", COMPUTING), ("exchanging", EXCHANGING)]
    held = any((s.waited_s > s.pushed_s).any() for s in line.workers.values())
    return [*found, ("held by the server", WAITING)] if held else found


def _name_rows(axes: Axes, workers: Sequence[int]) -> None:
    rows.name_rows(axes, [f"worker {worker}" for worker in workers])
