"""The lines of a report: means over the steps, and a row for each rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fdtcore.message_log import write_bytes, write_time
from fdtcore.telemetry import html_page
from fdtcore.telemetry.words import grouped, percent
from hfdt.telemetry.steps import RankSteps, StepTimeline
from hfdt.telemetry.trace import FAILED, FINISHED, JobRecord

CUT_OFF = "cut off"
_ALIKE = 0.005  # bytes that differ by a smaller part are the same
_LEGEND = (
    "Means over the steps that were not traced in their first run. Computing: from the "
    "end of an exchange until the last gradient of the next step is there, with the "
    "update and with taking the batch. Selecting: choosing what to send, and putting "
    "together what has come. Waiting: for the last gradient of the slowest rank. "
    "Reducing: from there on, until the gradients of all ranks are one. Overlap: share "
    "of the exchange that was under way while the rank computed. Dense: the bytes of "
    "whole gradients, in a ring."
)


class RankSummary(NamedTuple):
    """One rank: counts, and means over its steps in seconds and bytes."""

    rank: int
    steps: int = 0
    computing_s: float = math.nan
    selecting_s: float = math.nan
    waiting_s: float = math.nan
    reducing_s: float = math.nan
    overlap: float = math.nan  # share of the exchange
    sent_bytes: float = math.nan
    dense_bytes: float = math.nan
    end: str = ""

    @property
    def step_s(self) -> float:
        """A whole step."""
        return self.computing_s + self.selecting_s + self.waiting_s + self.reducing_s


def of_rank(rank: int, steps: RankSteps, end: str = "") -> RankSummary:
    """Returns the means of a rank; of all steps where each was traced."""
    counted = steps.counts if steps.counts.any() else np.ones_like(steps.counts)
    if not len(counted):
        return RankSummary(rank, end=end)
    start_s, computed_s, ready_s, met_s, ended_s = (e[counted] for e in steps.edges)
    selecting_s = steps.selecting_s[counted]
    # What is not before the exchange lies behind it.
    behind_s = np.maximum(0.0, selecting_s - (ready_s - computed_s))
    reducing_s = np.maximum(0.0, ended_s - met_s - behind_s)
    exchanged_s = steps.exchanged_s[counted].sum()
    return RankSummary(
        rank,
        len(steps.counts),
        float(np.mean(computed_s - start_s)),
        float(np.mean(selecting_s)),
        float(np.mean(met_s - ready_s)),
        float(np.mean(reducing_s)),
        float(steps.hidden_s[counted].sum() / exchanged_s) if exchanged_s else 0.0,
        float(np.mean(steps.sent_bytes[counted])),
        float(np.mean(steps.dense_bytes[counted])),
        end,
    )


def of_ranks(trace: JobRecord, line: StepTimeline) -> list[RankSummary]:
    """Returns the means of all ranks that have left a file."""
    last = trace.lives[-1]
    shifts = line.shifts[-1]
    found = []
    for rank, steps in line.ranks.items():
        end = ""
        if rank in last:
            how, record = last[rank].end, last[rank]
            at_s = (how["time_s"] if how else record.last_s) + shifts[rank]
            word = how["kind"] if how else CUT_OFF
            end = f"{word} at {at_s - line.origin_s:.1f} s"
        found.append(of_rank(rank, steps, end))
    return found


def lines(
    trace: JobRecord, line: StepTimeline, ranks: Sequence[RankSummary]
) -> list[str]:
    """Returns the lines of the report above its table."""
    first = min(ranks, key=lambda one: one.rank)
    steps_s = 1 / first.step_s if first.step_s > 0 else float("nan")
    sizes = [life[0].facts["ranks"] for life in trace.lives]
    found = [
        f"steps      {grouped(first.steps)} of {write_time(first.step_s)} on "
        f"{sizes[-1]} ranks: {steps_s:.1f} steps/s",
        f"overlap    {_spread([one.overlap for one in ranks if one.steps])} of the "
        "exchange under way while a rank computes",
        f"wire       {write_bytes(round(first.sent_bytes))} a step from each rank, "
        f"{_beside_dense(first)}",
    ]
    if len(sizes) > 1:
        told = " and ".join(str(size) for size in sizes)
        found.append(f"lives      {len(sizes)}, on {told} ranks")
    if trace.missing:
        names = ", ".join(f"trace-{rank}.jsonl" for rank in trace.missing)
        found.append(f"not here   {names}: copy them from the machines of these ranks")
    return found


def _spread(shares: Sequence[float]) -> str:
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _beside_dense(one: RankSummary) -> str:
    if not one.sent_bytes or not one.dense_bytes > 0:
        return "nothing known of dense gradients"
    ratio = one.dense_bytes / one.sent_bytes
    if abs(ratio - 1) < _ALIKE:
        return "as dense gradients"
    return f"1/{ratio:.3g} of dense gradients"


def _columns(ranks: Sequence[RankSummary]) -> list[tuple[str, list[str]]]:
    found = [
        ("steps", [grouped(one.steps) for one in ranks]),
        ("computing", [_time(one.computing_s) for one in ranks]),
        ("waiting", [_time(one.waiting_s) for one in ranks]),
        ("reducing", [_time(one.reducing_s) for one in ranks]),
        ("overlap", [_share(one.overlap) for one in ranks]),
        ("sent a step", [_size(one.sent_bytes) for one in ranks]),
        ("dense a step", [_size(one.dense_bytes) for one in ranks]),
    ]
    if any(one.selecting_s > 0 for one in ranks):
        cells = [_time(one.selecting_s) for one in ranks]
        found.insert(2, ("selecting", cells))
    return found


def table_lines(ranks: Sequence[RankSummary]) -> list[str]:
    """Returns the table of the ranks as text."""
    columns = [("rank", [str(one.rank) for one in ranks]), *_columns(ranks)]
    columns.append(("end", [one.end or "-" for one in ranks]))
    widths = [max(map(len, [name, *cells])) for name, cells in columns]
    rows = zip(*[[name, *cells] for name, cells in columns], strict=True)
    return [
        "  ".join(
            cell.ljust(width) if index in (0, len(widths) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table(ranks: Sequence[RankSummary]) -> html_page.Table:
    """Returns the table of the ranks for the page."""
    columns = _columns(ranks)
    rows = [
        (
            one.rank,
            [cells[index] for _, cells in columns],
            one.end,
            one.end.startswith((CUT_OFF, FAILED)),
        )
        for index, one in enumerate(ranks)
    ]
    return html_page.Table(
        "Ranks", "rank", [name for name, _ in columns], rows, _LEGEND
    )


def _time(time_s: float) -> str:
    return "-" if np.isnan(time_s) else write_time(time_s)


def _size(num_bytes: float) -> str:
    return "-" if np.isnan(num_bytes) else write_bytes(round(num_bytes))


def _share(share: float) -> str:
    return "-" if np.isnan(share) else percent(share)


def happenings(trace: JobRecord, line: StepTimeline) -> list[tuple[float, str]]:
    """Returns when what happened, as sentences, from the origin of the timeline."""
    found = []
    for number, (life, shifts) in enumerate(
        zip(trace.lives, line.shifts, strict=True), start=1
    ):
        size, begun_s = life[0].facts["ranks"], life[0].facts["begun_s"]
        if number > 1:
            found.append((begun_s, f"life {number} began, on {size} ranks"))
        for rank, record in sorted(life.items()):
            for one in record.happenings:
                text = f": {one['text']}" if one.get("text") else ""
                words = f"rank {rank} {one['kind']}{text}"
                found.append((one["time_s"] + shifts[rank], words))
            if record.end is None:
                words = f"the record of rank {rank} ends: it was killed, or goes on"
                found.append((record.last_s + shifts[rank], words))
    return sorted((max(0.0, at_s - line.origin_s), words) for at_s, words in found)


def ends(trace: JobRecord, line: StepTimeline) -> dict[int, tuple[float, str]]:
    """Returns when and how each rank ended that has not finished."""
    found = {}
    last, shifts = trace.lives[-1], line.shifts[-1]
    for rank, record in last.items():
        how = record.end
        if how is None or how["kind"] != FINISHED:
            at_s = how["time_s"] if how else record.last_s
            word = how["kind"] if how else CUT_OFF
            found[rank] = (at_s + shifts[rank] - line.origin_s, word)
    return found
