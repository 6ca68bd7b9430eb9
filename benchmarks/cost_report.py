"""Table, JSON and picture of what an exchange and an update cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.costs import BYTES, EXCHANGE, Measured, millions
from benchmarks.ratios import spread
from benchmarks.report import COLORS, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def is_exchange(one: Measured) -> bool:
    """Whether both the gradient and the parameters were moved."""
    return one.name.startswith(EXCHANGE)


def reference_of(one: Measured) -> str:
    """Return the name of what it is compared with."""
    return "plain send-receive" if is_exchange(one) else "numpy.copyto"


def cost_tables(found: Sequence[Measured]) -> str:
    """Return two tables: the exchanges, and the updates."""
    exchanges = [one for one in found if is_exchange(one)]
    updates = [one for one in found if not is_exchange(one)]
    header = ["median", "of it", "times", "min .. max", "limit", "verdict"]
    parts = []
    if exchanges:
        rows = [[*_cells(one), _rate(one)] for one in exchanges]
        parts.append(
            table(["push and pull, ms", *_named(header, exchanges), "MB/s"], rows)
        )
    if updates:
        rows = [_cells(one) for one in updates]
        parts.append(table(["server's update, ms", *_named(header, updates)], rows))
    return "\n\n".join(parts)


def _named(header: Sequence[str], found: Sequence[Measured]) -> list[str]:
    return [name.replace("of it", reference_of(found[0])) for name in header]


def _cells(one: Measured) -> list[str]:
    ratio = one.ratio
    return [
        f"{one.name}, {millions(one.parameters)}",
        f"{1e3 * spread(one.seconds).median:.2f}",
        f"{1e3 * spread(one.reference_s).median:.2f}",
        f"{ratio.median:.1f}",
        f"{ratio.low:.1f} .. {ratio.high:.1f}",
        "-" if one.limit is None else f"<= {one.limit:.0f}",
        one.verdict,
    ]


def _rate(one: Measured) -> str:
    """Return the bytes per second that went there and back."""
    moved = 2 * BYTES * one.parameters
    return f"{moved / spread(one.seconds).median / 1e6:.0f}"


def as_json(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return every round's seconds, for the file of figures."""
    return [
        {
            "name": one.name,
            "parameters": one.parameters,
            "seconds": one.seconds,
            "reference": reference_of(one),
            "reference_seconds": one.reference_s,
        }
        for one in found
    ]


def draw(path: Path, found: Sequence[Measured], subtitle: str) -> None:
    """Write a PNG: time over the number of parameters, exchanges beside updates.

    Args:
        path: The file.
        found: What was measured.
        subtitle: Machine and rounds, below the title.
    """
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 5.2))
    exchanges = [one for one in found if is_exchange(one)]
    updates = [one for one in found if not is_exchange(one)]
    _draw_panel(panels[0], "Exchange: push and pull", exchanges)
    _draw_panel(panels[1], "The server's update", updates)
    figure.suptitle(f"What NFDT adds to a step\n{subtitle}")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_panel(panel: "Axes", title: str, found: Sequence[Measured]) -> None:
    for name in dict.fromkeys(one.name for one in found):
        series = [one for one in found if one.name == name]
        times = [spread([1e3 * s for s in one.seconds]) for one in series]
        below = [t.median - t.low for t in times]
        above = [t.high - t.median for t in times]
        medians, bars = [t.median for t in times], (below, above)
        panel.errorbar(
            _millions(series), medians, bars, marker="o", capsize=3, label=name
        )
    reference = [one for one in found if one.name == found[0].name]
    times_ms = [1e3 * spread(one.reference_s).median for one in reference]
    label = reference_of(found[0])
    panel.plot(_millions(reference), times_ms, "k--", marker="s", label=label)
    panel.set_xscale("log")
    panel.set_yscale("log")
    sizes = _millions(reference)
    panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
    panel.minorticks_off()
    panel.yaxis.set_major_formatter("{x:g}")
    panel.set_xlabel("parameters, million")
    panel.set_ylabel("milliseconds (bars: least and greatest round)")
    panel.grid(color="lightgray", lw=0.6)
    panel.legend()
    _write_title(panel, title, [one for one in found if one.limit is not None])


def _millions(series: Sequence[Measured]) -> list[float]:
    return [one.parameters / 1e6 for one in series]


def _write_title(panel: "Axes", title: str, judged: Sequence[Measured]) -> None:
    lines = [
        f"{one.name} of {millions(one.parameters)}: {one.ratio.median:.1f} times "
        f"{reference_of(one)}, {one.verdict} (<= {one.limit:.0f})"
        for one in judged
    ]
    color = COLORS[judged[0].verdict] if judged else "black"
    panel.set_title("\n".join([title, *lines]), fontsize=10, color=color)
