"""Tables, JSON and the picture of a benchmark's results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.launches import CONTENDERS
from benchmarks.ratios import Round, Row, Spread, speeds, spread
from benchmarks.work import WORKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {"reached": "tab:green", "missed": "tab:red", "-": "tab:gray"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned Markdown table; the first column is flush left.

    Args:
        header: Column names.
        rows: Cells, as many in each row as there are column names.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(w) for cell, w in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def speed_table(rounds: Sequence[Round]) -> str:
    """Return the table of images per second and rank of each contender that ran."""
    rows = [
        [contender.title, *_cells(spread(values), 0), str(len(values))]
        for contender in CONTENDERS.values()
        if (values := speeds(rounds, contender.name))
    ]
    return table(["images/s per rank", "median", "min .. max", "rounds"], rows)


def ratio_table(rows: Sequence[Row]) -> str:
    """Return the table of our speed divided by each reference's."""
    cells = [
        [
            f"{row.question}: {_title(row)}",
            *_cells(row.ratio, 2),
            "-" if row.target is None else f">= {row.target:.2f}",
            row.verdict,
        ]
        for row in rows
    ]
    return table(["speed ratio", "median", "min .. max", "target", "verdict"], cells)


def _cells(values: Spread, digits: int) -> tuple[str, str]:
    median = f"{values.median:.{digits}f}"
    return median, f"{values.low:.{digits}f} .. {values.high:.{digits}f}"


def _title(row: Row) -> str:
    sides = (CONTENDERS[row.contender].title, CONTENDERS[row.reference].title)
    return " / ".join(sides)


def write_json(
    path: Path, facts: Mapping[str, object], rounds: Mapping[str, Sequence[Round]]
) -> None:
    """Write the measured speeds of every round, by work, with the given facts."""
    content = {**facts, "images_per_s_per_rank": rounds}
    path.write_text(json.dumps(content, indent=2) + "\n")


def draw(path: Path, rows: Sequence[Row], subtitle: str) -> None:
    """Write a PNG: one panel per work, one line per comparison, targets as bars.

    Args:
        path: The file.
        rows: Of all works.
        subtitle: Machine, rounds and data, below the title.
    """
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    works = list(dict.fromkeys(row.work for row in rows))
    counts = [sum(row.work == work for row in rows) for work in works]
    heights = [1.1 + 0.45 * count for count in counts]  # a title and axis, and lines
    figure, panels = pyplot.subplots(
        len(works),
        1,
        figsize=(11, 1.0 + sum(heights)),
        squeeze=False,
        height_ratios=heights,
    )
    for panel, work in zip(panels[:, 0], works, strict=True):
        _draw_panel(panel, work, [row for row in rows if row.work == work])
    figure.suptitle(f"Speed of HFDT and NFDT beside their alternatives\n{subtitle}")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_panel(panel: "Axes", work: str, rows: Sequence[Row]) -> None:
    for y, row in enumerate(rows):
        color = COLORS[row.verdict]
        panel.plot([row.ratio.low, row.ratio.high], [y, y], color=color, lw=2)
        panel.plot(row.values, [y] * len(row.values), "o", color=color, alpha=0.4)
        panel.plot(row.ratio.median, y, "D", color=color, ms=9)
        label = f"{row.ratio.median:.2f}"
        if row.target is not None:
            label += f" {row.verdict} (>= {row.target:.2f})"
            panel.vlines(row.target, y - 0.38, y + 0.38, color="black", ls="--", lw=1.5)
        right_of_panel = panel.get_yaxis_transform()
        panel.text(1.01, y, label, transform=right_of_panel, color=color, va="center")
    panel.axvline(1.0, color="lightgray", lw=1, zorder=0)
    panel.set_yticks(
        range(len(rows)), [_title(row).replace(" / ", " /\n") for row in rows]
    )
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(left=0)
    panel.set_xlabel(
        "speed ratio (right is faster); diamond: median, dots: rounds, dashed: target"
    )
    panel.set_title(WORKS[work].title)
