"""The colours of pictures, and the pictures as PNG.

Colours are those of Okabe and Ito, which colour-blind readers tell apart too; the blue
is lighter than theirs, to stand out from dark paper as well.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

BLUE, ORANGE, GREEN = "#2B86C5", "#D55E00", "#009E73"
PINK, YELLOW = "#CC79A7", "#E69F00"
COMPUTING, EXCHANGING, WAITING = BLUE, YELLOW, PINK
_WIDTH_INCHES, _DPI = 11, 130


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


def png(
    fill: Callable[[Figure, GridSpec], None],
    heights: Sequence[float],
    theme: Theme,
) -> bytes:
    """Returns a picture of rows of panels, two columns wide.

    Args:
        fill: Draws on the figure, by rows of the grid.
        heights: Of the rows, in inches.
        theme: Colours of the picture.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(_style(theme)):
        # A figure of its own, not pyplot's: no window, and nothing to close.
        size = (_WIDTH_INCHES, sum(heights) + 2.4)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.1))
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        fill(figure, grid)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


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
