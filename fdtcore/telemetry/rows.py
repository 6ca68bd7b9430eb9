"""Timelines: a row for each process, its spans or, where they are many, their shares.

Letters: N spans of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Times = npt.NDArray[np.float64]

MOST_SPANS = 150  # of one row; more cannot be told apart: their shares are drawn
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
_MARK: dict[str, Any] = {"marker": "X", "ms": 8, "color": "black", "mec": "white"}
_ROW_INCHES = 0.28
_MOST_ROWS = 48  # more are drawn thinner
_BINS = 400
_MOST_NAMES = 24  # rows whose names fit beside them


def height_inches(num_rows: int) -> float:
    """Returns how high a timeline is."""
    return max(1.1, _ROW_INCHES * min(num_rows, _MOST_ROWS))


def draw_spans(
    axes: Axes, row: int, edges: Sequence[Times], colors: Sequence[str]
) -> None:
    """Draws each span of a row.

    Args:
        axes: Axes to draw on.
        row: Which one, from above.
        edges: Where a part of a span ends and the next begins: one [N] more than parts.
        colors: Of the parts.
    """
    for start_s, stop_s, color in zip(edges, edges[1:], colors, strict=False):
        bars = np.stack([start_s, stop_s - start_s]).T
        axes.broken_barh(bars, (row - 0.4, 0.8), color=color, lw=0)


def draw_shares(
    axes: Axes, row: int, edges: Sequence[Times], colors: Sequence[str], end_s: float
) -> None:
    """Draws which part of the time the spans of a row fill, as ``draw_spans`` does.

    Args:
        axes: Axes to draw on.
        row: Which one, from above.
        edges: As for ``draw_spans``.
        colors: Of the parts.
        end_s: Where the timeline ends.
    """
    edges_s = np.linspace(0, end_s, _BINS + 1)
    below = np.full(_BINS, row + 0.4)  # rows count downwards
    for start_s, stop_s, color in zip(edges, edges[1:], colors, strict=False):
        above = below - 0.8 * shares(start_s, stop_s, edges_s)
        axes.stairs(above, edges_s, baseline=below, fill=True, color=color, lw=0)
        below = above


def mark_end(axes: Axes, row: int, at_s: float, word: str) -> None:
    """Marks that the process of a row has ended."""
    axes.plot(at_s, row, clip_on=False, zorder=5, **_MARK)
    axes.annotate(word, (at_s, row), (8, 0), **BESIDE)


def draw_legend(axes: Axes, names: Sequence[tuple[str, str]]) -> None:
    """Draws a legend of names and colours above the lower right corner."""
    for name, color in names:
        axes.bar(0, 0, color=color, label=name)  # for the legend only
    corner = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": len(names)}
    axes.legend(**corner, borderpad=0, borderaxespad=0.4)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Writes the names of rows beside them, or of some where they are many."""
    step = -(-len(names) // _MOST_NAMES)
    named = range(0, len(names), step)
    axes.set_yticks(named, [names[row] for row in named])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)


def fits_names(num_rows: int) -> bool:
    """Says whether each of some rows has its name beside it."""
    return num_rows <= _MOST_NAMES


def shares(starts_s: Times, ends_s: Times, edges_s: Times) -> Times:
    """Returns which part of each bin some spans fill.

    Args:
        starts_s: Where each span begins, seconds, [N], ascending.
        ends_s: Where each span ends, seconds, [N], ascending.
        edges_s: [bins + 1], ascending.

    Returns:
        [bins], each in 0 .. 1.
    """
    filled_s = _since(starts_s, edges_s) - _since(ends_s, edges_s)
    return np.clip(np.diff(filled_s) / np.diff(edges_s), 0.0, 1.0)


def _since(moments_s: Times, at_s: Times) -> Times:
    """Returns the sum of ``at - moment`` over the moments before, for each ``at``."""
    sums = np.concatenate([[0.0], np.cumsum(moments_s)])
    count = np.searchsorted(moments_s, at_s)
    return count * at_s - sums[count]
