"""Table, JSON and picture of forecasts beside real runs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ratios import spread
from benchmarks.report import COLORS, table
from benchmarks.truth import CASES, WITHIN, Case, Checked, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUANTITIES = ("updates/s", "staleness")


def truth_table(found: Sequence[Checked]) -> str:
    """Return the table: each quantity of each case, real and as forecast."""
    header = ["median", "real", "forecast", "real / forecast", "min .. max", "verdict"]
    rows = [
        _row(case, quantity, index, mine)
        for case, mine in by_case(found).items()
        for index, quantity in enumerate(_QUANTITIES)
    ]
    return table(header, rows)


def missed(found: Sequence[Checked]) -> list[str]:
    """Return what is not within the limit, in words."""
    return [
        f"{quantity}, {case.title}"
        for case, mine in by_case(found).items()
        for index, quantity in enumerate(_QUANTITIES)
        if verdict([one.ratios[index] for one in mine]) == "missed"
    ]


def by_case(found: Sequence[Checked]) -> dict[Case, list[Checked]]:
    """Return the rounds of each case."""
    cases = {one.case for one in found}
    return {
        case: [one for one in found if one.case == case]
        for case in CASES
        if case in cases
    }


def write_json(
    path: Path, facts: Mapping[str, object], found: Sequence[Checked]
) -> None:
    """Write every round, with the given facts."""
    rounds: list[dict[str, Any]] = [
        {
            **one.case._asdict(),
            "real": one.real._asdict(),
            "forecast": one.forecast._asdict(),
        }
        for one in found
    ]
    content = {**facts, "within": WITHIN, "truth": rounds}
    path.write_text(json.dumps(content, indent=2) + "\n")


def draw(path: Path, found: Sequence[Checked], subtitle: str) -> None:
    """Write a PNG: real over forecast of each case, and the limits.

    Args:
        path: The file.
        found: All rounds.
        subtitle: Machine and rounds, below the title.
    """
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for index, (panel, quantity) in enumerate(zip(panels, _QUANTITIES, strict=True)):
        _draw_panel(panel, index, quantity, by_case(found))
    figure.suptitle(f"Real runs beside the simulator's forecast\n{subtitle}")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_panel(
    panel: "Axes", index: int, quantity: str, cases: Mapping[Case, Sequence[Checked]]
) -> None:
    for y, mine in enumerate(cases.values()):
        ratios = [one.ratios[index] for one in mine]
        color = COLORS[verdict(ratios)]
        panel.plot(ratios, [y] * len(ratios), "o", color=color, alpha=0.4)
        panel.plot(statistics.median(ratios), y, "D", color=color, ms=9)
    panel.axvspan(1 / (1 + WITHIN), 1 + WITHIN, color="tab:green", alpha=0.1)
    panel.axvline(1.0, color="lightgray", lw=1, zorder=0)
    panel.set_yticks(range(len(cases)), [case.title for case in cases])
    panel.set_ylim(len(cases) - 0.5, -0.5)
    panel.set_xlabel("real / forecast; diamond: median, dots: rounds")
    panel.set_title(f"{quantity}; shaded: within {WITHIN:.0%}")


def _row(case: Case, quantity: str, index: int, mine: Sequence[Checked]) -> list[str]:
    ratios = [one.ratios[index] for one in mine]
    around = spread(ratios)
    return [
        f"{case.title}: {quantity}",
        f"{statistics.median(one.real[index] for one in mine):.2f}",
        f"{statistics.median(one.forecast[index] for one in mine):.2f}",
        f"{around.median:.2f}",
        f"{around.low:.2f} .. {around.high:.2f}",
        verdict(ratios),
    ]
