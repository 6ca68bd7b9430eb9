"""The picture of a run: loss, timeline, staleness, pushes, and thresholds of DSP."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nfdt.telemetry import dsp_panels, panels, worker_outcomes
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

_ROW_INCHES = 0.28  # of one worker in the timeline
_MOST_ROWS = 48  # more are drawn thinner
_DPI = 130


class Theme(NamedTuple):
    """Colours of paper and ink; those of the data are the same on both."""

    paper: str
    ink: str
    faint: str


LIGHT = Theme("#ffffff", "#1b1b1b", "#d0d0d0")
DARK = Theme("#16181c", "#e6e6e6", "#4a4d53")


def check_matplotlib() -> None:
    """Refuses to go on without matplotlib.

    Raises:
        ValueError: The package matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"a report is drawn with matplotlib. Received: {error}. "
            "Run: python -m pip install matplotlib"
        ) from error


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
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    ends = worker_outcomes.ends(happenings)
    workers = sorted({*line.workers, *ends})
    rows_inches = max(1.1, _ROW_INCHES * min(len(workers), _MOST_ROWS))
    heights = [2.6, rows_inches, max(2.0, 0.75 * rows_inches)]
    if dsp_panels.barriers(happenings):
        heights.append(2.3)
    with matplotlib.rc_context(_style(theme)):
        # A figure of its own, not pyplot's: no window, and nothing to close.
        size = (11, sum(heights) + 2.4)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.1))
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        _losses(figure, grid, line)
        panels.draw_timeline(figure.add_subplot(grid[1, :]), line, workers, ends)
        panels.draw_staleness(figure.add_subplot(grid[2, 0]), summary)
        panels.draw_pushes(figure.add_subplot(grid[2, 1]), summary, workers)
        if dsp_panels.barriers(happenings):
            _dynamics(figure, grid, line, happenings)
        _head(figure, title, summary.lines())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


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


def _style(theme: Theme) -> dict[str, Any]:
    inked = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    papered = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    faint = ("axes.edgecolor", "grid.color", "legend.edgecolor")
    return {
        **dict.fromkeys((*inked, "axes.titlecolor"), theme.ink),
        **dict.fromkeys(papered, theme.paper),
        **dict.fromkeys(faint, theme.faint),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "font.size": 9,
        "legend.frameon": False,
    }
