"""The picture of a run: loss, timeline, staleness, pushes, and thresholds of DSP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fdtcore.telemetry import rows
from fdtcore.telemetry.theme import LIGHT, Theme, png
from nfdt.telemetry import dsp_panels, panels, worker_outcomes
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec


def draw(
    line: Timeline,
    summary: Summary,
    happenings: Sequence[Mapping[str, Any]],
    title: str,
    theme: Theme = LIGHT,
) -> bytes:
    """Returns the picture of a run as PNG.

    Args:
        line: Timeline of the run.
        summary: Of the same pushes.
        happenings: What else there was.
        title: Stands above, before the lines of the summary.
        theme: Colours of the picture.
    """
    ends = worker_outcomes.ends(happenings)
    workers = sorted({*line.workers, *ends})
    rows_inches = rows.height_inches(len(workers))
    heights = [2.6, rows_inches, max(2.0, 0.75 * rows_inches)]
    if dsp_panels.barriers(happenings):
        heights.append(2.3)

    def fill(figure: Figure, grid: GridSpec) -> None:
        _losses(figure, grid, line)
        panels.draw_timeline(figure.add_subplot(grid[1, :]), line, workers, ends)
        panels.draw_staleness(figure.add_subplot(grid[2, 0]), summary)
        panels.draw_pushes(figure.add_subplot(grid[2, 1]), summary, workers)
        if dsp_panels.barriers(happenings):
            _dynamics(figure, grid, line, happenings)
        _head(figure, title, summary.lines())

    return png(fill, heights, theme)


def _losses(figure: Figure, grid: GridSpec, line: Timeline) -> None:
    over_time = figure.add_subplot(grid[0, 0])
    over_updates = figure.add_subplot(grid[0, 1], sharey=over_time)
    panels.draw_loss(over_time, line.table, "time_s", "time in s")
    panels.draw_loss(over_updates, line.table, "version", "updates")
    over_updates.tick_params(labelleft=False)
    over_updates.set_ylabel("")


def _dynamics(
    figure: Figure,
    grid: GridSpec,
    line: Timeline,
    happenings: Sequence[Mapping[str, Any]],
) -> None:
    thresholds, speeds = (figure.add_subplot(grid[3, column]) for column in (0, 1))
    dsp_panels.draw_thresholds(thresholds, happenings, line.origin_s, line.end_s)
    dsp_panels.draw_speeds(speeds, happenings, line.origin_s, line.end_s)


def _head(figure: Figure, title: str, lines: Sequence[str]) -> None:
    # Columns are for a terminal, not for a proportional font.
    text = [": ".join(one.split(maxsplit=1)) for one in lines]
    figure.suptitle("\n".join([title, f"{text[0]};   {text[1]}", text[2]]), fontsize=11)
