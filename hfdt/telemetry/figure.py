"""The picture of a run: what the ranks did, some steps near by, times and bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fdtcore.message_log import write_bytes
from fdtcore.telemetry import rows
from fdtcore.telemetry.theme import (
    BLUE,
    COMPUTING,
    EXCHANGING,
    GREEN,
    ORANGE,
    WAITING,
    Theme,
    png,
)
from hfdt.telemetry.steps import RankSteps, StepTimeline, TimedExchange
from hfdt.telemetry.summary import RankSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

SELECTING = GREEN
_PARTS = (COMPUTING, SELECTING, WAITING, EXCHANGING)
_NAMES = ("computing", "selecting", "waiting for the last rank", "reducing")
_NEAR_STEPS = 3
_MOST_NEAR = 4  # ranks whose steps are drawn near by
_MOST_DOTS = 3000
_LEAST_WIDTH = 0.035  # of the axes, for a size to be written in a bar
_MOST_LANES = 3
_INSIDE: dict[str, Any] = {
    **{"ha": "center", "va": "center", "fontsize": 6.5, "color": "black"}
}
_ALIKE = 0.005


def draw(
    line: StepTimeline,
    ranks: Sequence[RankSummary],
    ends: Mapping[int, tuple[float, str]],
    title: str,
    head: Sequence[str],
    theme: Theme,
) -> bytes:
    """Returns the picture of a run as PNG.

    Args:
        line: Timeline of the run.
        ranks: Means of its ranks.
        ends: When and how ranks ended that have not finished.
        title: Stands above, before the head.
        head: Lines of the report.
        theme: Colours of the picture.
    """
    near = _near(line)
    heights = [
        rows.height_inches(len(line.ranks)),
        max(1.4, 0.96 * len(near)),
        max(2.2, rows.height_inches(len(line.ranks))),
    ]
    with_bytes = any(_differs(steps) for steps in line.ranks.values())
    if with_bytes:
        heights.append(1.9)

    def fill(figure: Figure, grid: GridSpec) -> None:
        _whole(figure.add_subplot(grid[0, :]), line, ends)
        _closely(figure.add_subplot(grid[1, :]), line, near, theme)
        _step_times(figure.add_subplot(grid[2, 0]), line)
        _means(figure.add_subplot(grid[2, 1]), ranks)
        if with_bytes:
            _bytes(figure.add_subplot(grid[3, :]), line)
        text = [": ".join(one.split(maxsplit=1)) for one in head]
        figure.suptitle("\n".join([title, *text[:3]]), fontsize=11)

    return png(fill, heights, theme)


def _whole(
    axes: Axes, line: StepTimeline, ends: Mapping[int, tuple[float, str]]
) -> None:
    is_fine = max(len(s.ended_s) for s in line.ranks.values()) <= rows.MOST_SPANS
    for row, (rank, steps) in enumerate(line.ranks.items()):
        edges = [np.maximum(edge, 0.0) for edge in steps.edges]
        if is_fine:
            rows.draw_spans(axes, row, edges, _PARTS)
        else:
            rows.draw_shares(axes, row, edges, _PARTS, line.end_s)
        if rank in ends:
            at_s, word = ends[rank]
            rows.mark_end(axes, row, min(max(0.0, at_s), line.end_s), word)
    rows.draw_legend(axes, _legend(line.ranks.values()))
    rows.name_rows(axes, [f"rank {rank}" for rank in line.ranks])
    axes.set_xlim(0, line.end_s or 1)
    axes.set_xlabel("time in s, from the first gradient")
    how = "" if is_fine else "; heights are shares of time"
    axes.set_title(f"What the ranks did{how}")


def _near(line: StepTimeline) -> dict[int, slice]:
    """Returns by rank some steps in the middle, of which the times are usual."""
    first = next(iter(line.ranks.values()))
    length = len(first.ended_s)
    count = min(_NEAR_STEPS, length)
    starts = np.arange(length - count + 1)
    lasts_s = first.ended_s[starts + count - 1] - first.start_s[starts]
    # Steps that were traced in their first run, and the first of a fit, last longer.
    unusual_s = np.abs(lasts_s - np.median(lasts_s))
    middle = np.abs(starts - length / 2) / max(1, length)
    usual = unusual_s <= np.quantile(unusual_s, 0.2)
    start = int(starts[usual][np.argmin(middle[usual])])
    begins_s, ends_s = first.start_s[start], first.ended_s[start + count - 1]
    found = {}
    for rank, steps in list(line.ranks.items())[:_MOST_NEAR]:
        low = int(np.searchsorted(steps.ended_s, begins_s, side="right"))
        high = int(np.searchsorted(steps.start_s, ends_s, side="left"))
        if high > low:
            found[rank] = slice(low, high)
    return found


def _closely(
    axes: Axes, line: StepTimeline, near: Mapping[int, slice], theme: Theme
) -> None:
    """Draws some steps: what each rank did, and below it its gradients on their way."""
    first = next(iter(near))
    steps = line.ranks[first]
    begins_s = float(steps.start_s[near[first]][0])
    ends_s = float(steps.ended_s[near[first]][-1])
    width_ms = 1e3 * (ends_s - begins_s)
    names = []
    for index, (rank, some) in enumerate(near.items()):
        steps = line.ranks[rank]
        edges = [1e3 * (edge[some] - begins_s) for edge in steps.edges]
        rows.draw_spans(axes, 2 * index, edges, _PARTS)
        found = [one for step in steps.exchanges[some] for one in step]
        _draw_exchanges(axes, 2 * index + 1, found, begins_s, width_ms, theme)
        names += [f"rank {rank}", "its gradients"]
    rows.name_rows(axes, names)
    axes.set_xlim(0, width_ms or 1)
    axes.set_xlabel("time in ms")
    most = max(
        len(one) for rank in near for one in line.ranks[rank].exchanges[near[rank]]
    )
    parts = "one bar" if most == 1 else f"{most} bars"
    axes.set_title(
        "Some steps, closer: below each rank its gradients on their way "
        f"({parts} a step)"
    )


def _draw_exchanges(
    axes: Axes,
    row: int,
    found: Sequence[TimedExchange],
    begins_s: float,
    width_ms: float,
    theme: Theme,
) -> None:
    lanes = 1 + max((one.lane for one in found), default=0)
    height = 0.9 / lanes
    for one in found:
        begun_ms, met_ms, ended_ms = (1e3 * (time_s - begins_s) for time_s in one[:3])
        top = row - 0.45 + one.lane * height
        bars = [(begun_ms, met_ms - begun_ms), (met_ms, ended_ms - met_ms)]
        axes.broken_barh(bars, (top, height), color=(WAITING, EXCHANGING), lw=0)
        whole = (begun_ms, ended_ms - begun_ms)
        axes.broken_barh([whole], (top, height), fc="none", ec=theme.paper, lw=1.2)
        is_inside = begun_ms >= 0 and ended_ms <= width_ms
        is_wide = ended_ms - begun_ms > _LEAST_WIDTH * width_ms
        if is_inside and is_wide and lanes <= _MOST_LANES:
            axes.annotate(
                write_bytes(round(one.sent_bytes)),
                ((begun_ms + ended_ms) / 2, top + height / 2),
                **_INSIDE,
            )


def _step_times(axes: Axes, line: StepTimeline) -> None:
    highest = []
    for index, (rank, steps) in enumerate(line.ranks.items()):
        times_ms = 1e3 * (steps.ended_s - steps.start_s)
        exposed_ms = 1e3 * (steps.ended_s - steps.computed_s)
        some = slice(None, None, -(-len(times_ms) // _MOST_DOTS))
        if index == 0:
            at_s = steps.ended_s[some]
            axes.plot(at_s, times_ms[some], ".", ms=3, color=BLUE, label="a step")
            axes.plot(
                at_s,
                exposed_ms[some],
                ".",
                ms=3,
                color=ORANGE,
                label="... behind its last gradient",
            )
            usual = times_ms[steps.counts] if steps.counts.any() else times_ms
            highest.append(float(np.quantile(usual, 0.98)))
            axes.set_title(f"Each step of rank {rank}")
    axes.set_ylim(0, 1.35 * max(highest))
    axes.set_xlim(0, line.end_s or 1)
    axes.set_xlabel("time in s")
    axes.set_ylabel("time in ms")
    axes.legend(loc="upper right", ncols=2, markerscale=3, fontsize=8)


def _means(axes: Axes, ranks: Sequence[RankSummary]) -> None:
    left = np.zeros(len(ranks))
    for name, color in zip(
        ("computing_s", "selecting_s", "waiting_s", "reducing_s"), _PARTS, strict=True
    ):
        widths = np.array([1e3 * np.nan_to_num(getattr(one, name)) for one in ranks])
        axes.barh(range(len(ranks)), widths, 0.7, left=left, color=color)
        left += widths
    for row, one in enumerate(ranks):
        if rows.fits_names(len(ranks)) and one.steps:
            text = f"{1e3 * one.step_s:.3g} ms"
            axes.annotate(text, (float(left[row]), row), (4, 0), **rows.BESIDE)
    axes.margins(x=0.16)
    rows.name_rows(axes, [f"rank {one.rank}" for one in ranks])
    axes.set_xlabel("mean of a step in ms")
    axes.set_title("Where the time of a step goes")


def _bytes(axes: Axes, line: StepTimeline) -> None:
    from matplotlib.ticker import FuncFormatter

    steps = next(iter(line.ranks.values()))
    some = slice(None, None, -(-len(steps.ended_s) // _MOST_DOTS))
    at_s = steps.ended_s[some]
    axes.plot(at_s, steps.dense_bytes[some], color=ORANGE, lw=1.8, label="dense")
    axes.plot(at_s, steps.sent_bytes[some], ".", ms=3, color=BLUE, label="sent")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, place: write_bytes(round(value)))
    )
    axes.set_xlim(0, line.end_s or 1)
    axes.set_xlabel("time in s")
    axes.set_title("Bytes that a rank sends in a step")
    axes.legend(loc="center right", fontsize=8)


def _differs(steps: RankSteps) -> bool:
    known = np.isfinite(steps.dense_bytes) & (steps.dense_bytes > 0)
    ratio = steps.sent_bytes[known] / steps.dense_bytes[known]
    return bool((np.abs(ratio - 1) > _ALIKE).any())


def _legend(ranks: Any) -> list[tuple[str, str]]:
    selects = any((steps.ready_s > steps.computed_s).any() for steps in ranks)
    pairs = zip(_NAMES, _PARTS, strict=True)
    return [(name, color) for name, color in pairs if selects or color != SELECTING]
