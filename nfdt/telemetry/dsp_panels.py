"""The panels of a run whose barriers follow the workers' speeds: DSP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nfdt.protocol.events import BARRIER, READINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Happenings = Sequence[Mapping[str, Any]]

# Key in a barrier, name, colour and style; a line may lie on another.
_LINES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("stale", "s: lead that calls", {"color": "#2B86C5", "lw": 3, "alpha": 0.7}),
    ("weak", "w: steps of the slowest that call", {"color": "#009E73", "lw": 1.8}),
    ("factor", "performance factor", {"color": "#D55E00", "lw": 1.8, "ls": "--"}),
)
_COLORS = ("#2B86C5", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_MOST_NAMES = 10  # workers in a legend


def barriers(happenings: Happenings) -> list[Mapping[str, Any]]:
    """Returns the barriers of a run, by time."""
    return _of_kind(happenings, BARRIER)


def draw_thresholds(
    axes: Axes, happenings: Happenings, origin_s: float, end_s: float
) -> None:
    """Draws what each barrier has set: s, w and the performance factor.

    Args:
        axes: Axes to draw on.
        happenings: Of the run; at least one barrier.
        origin_s: Where the times of the report begin.
        end_s: Where they end, from there.
    """
    found = barriers(happenings)
    times_s = [*(one["time_s"] - origin_s for one in found), end_s]
    for key, name, style in _LINES:
        values = [one[key] for one in found]
        axes.step(times_s, [*values, values[-1]], where="post", label=name, **style)
    axes.set_xlim(0, end_s or 1)
    highest = max(one[key] for one in found for key, _, _ in _LINES)
    axes.set_ylim(0, 1.5 * highest)  # the legend stands above the lines
    axes.set_xlabel("time in s")
    axes.set_ylabel("steps; ratio of speeds")
    causes = [str(one["cause"]) for one in found]
    counts = ", ".join(f"{causes.count(c)} {c}" for c in sorted(set(causes)))
    axes.set_title(f"Thresholds that {len(causes)} barriers have set ({counts})")
    axes.legend(loc="upper left", fontsize=8)


def draw_speeds(
    axes: Axes, happenings: Happenings, origin_s: float, end_s: float
) -> None:
    """Draws how fast each worker was, as its monitor says.

    Args:
        axes: Axes to draw on.
        happenings: Happenings of the run.
        origin_s: Where the times of the report begin.
        end_s: Where they end, from there.
    """
    found = _of_kind(happenings, READINGS)
    workers = sorted({one["worker"] for one in found})
    for index, worker in enumerate(workers):
        mine = [one for one in found if one["worker"] == worker]
        times_s = [one["time_s"] - origin_s for one in mine]
        speeds = [one["steps_per_s"] for one in mine]
        color = _COLORS[index % len(_COLORS)]
        axes.plot(times_s, speeds, ".-", color=color, label=f"worker {worker}")
    axes.set_xlim(0, end_s or 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time in s")
    axes.set_ylabel("steps/s while computing")
    axes.set_title("How fast workers were" if found else "Nothing was monitored")
    if 0 < len(workers) <= _MOST_NAMES:
        axes.legend(loc="lower right", fontsize=8)


def _of_kind(happenings: Happenings, kind: str) -> list[Mapping[str, Any]]:
    found = [one for one in happenings if one["kind"] == kind]
    return sorted(found, key=lambda one: one["time_s"])
