"""What the pictures of several claims have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.papers.contenders import CONTENDERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _with_any_q(algorithm: str) -> str:
    return algorithm.partition(" q=")[0]


# The same colour for an algorithm everywhere; who is compared stands out.
_PALETTE = (
    *(
        "tab:gray",
        "black",
        "tab:orange",
        "tab:red",
        "tab:purple",
        "tab:blue",
        "tab:green",
    ),
    *("tab:olive", "tab:cyan", "tab:pink", "tab:brown"),
)
_NAMES = dict.fromkeys(_with_any_q(name) for name in CONTENDERS)
_COLORS = dict(zip(_NAMES, _PALETTE, strict=True))


def line(
    panel: Axes,
    algorithm: str,
    points: Mapping[float, Sequence[float]],
    *,
    label: str,
    stands_out: bool = True,
) -> None:
    """Draws the means over seeds as a line, and the seeds as points.

    Args:
        panel: Where.
        algorithm: Whose.
        points: x -> a value for each seed.
        label: For the legend.
        stands_out: Whether it is one of those that the claim is about.
    """
    color = _COLORS[_with_any_q(algorithm)]
    means = [sum(values) / len(values) for values in points.values()]
    width, marker = (2.2, "o") if stands_out else (1.0, ".")
    style = "-" if stands_out else "--"
    panel.plot(list(points), means, style, color=color, lw=width, label=label)
    for x, values in points.items():
        panel.plot([x] * len(values), values, marker, color=color, ms=4, alpha=0.5)


def legend_below(panel: Axes, columns: int = 5) -> None:
    """Gives a figure the legend of one panel for all of them, below them."""
    handles, labels = panel.get_legend_handles_labels()
    place = "outside lower center"
    panel.figure.legend(handles, labels, loc=place, ncols=min(columns, len(labels)))
