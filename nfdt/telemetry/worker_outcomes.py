"""The outcome of each worker, and the happenings of a run as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdtcore.telemetry import html_page
from fdtcore.telemetry.trace_file import FAILED, FINISHED, LOST
from fdtcore.telemetry.words import grouped, percent
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.events import BARRIER, READINGS, Use
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.timeline import Table
from nfdt.telemetry.trace import REFUSED, Trace

_ENDS = (LOST, FAILED, FINISHED)
_DRAWN = (BARRIER, READINGS)  # too many for words
_PHRASES = {
    LOST: "{who} was lost",
    FAILED: "{who} failed",
    FINISHED: "{who} finished",
    REFUSED: "a gradient of {who} was refused",
    BARRIER: "a barrier ended",
}
_COLUMNS = (
    "pushes",
    "batches",
    "dropped",
    "waited",
    "max lead",
    "mean staleness",
    "max staleness",
)
_LEGEND = (
    "Waited: share of the time between a worker's pushes in which it did not "
    "compute, but sent, was held, or received. Dropped: gradients that came too late "
    "to be used. Lead: steps ahead of the slowest worker. Staleness: updates between a "
    "pull and the use of the gradient made with it."
)


class WorkerOutcome(NamedTuple):
    """One worker, from its first push to its end."""

    worker: int
    pushes: int
    batches: int  # different ones; a batch may take several pushes
    dropped: int  # pushes that came too late, and were used for nothing
    waited: float | None  # share of its time; None where not known
    max_lead: int | None  # over the slowest, when it told of a step; None without one
    mean_staleness: float | None  # None without a push
    max_staleness: int | None
    end: str  # "finished", "lost at 3.1 s" ...; "" where nothing is known


def find(
    trace: Trace, table: Table, summary: Summary, origin_s: float
) -> list[WorkerOutcome]:
    """Returns all workers, also those without a push.

    Args:
        trace: Trace of the run.
        table: Table of its pushes.
        summary: Of the same pushes.
        origin_s: Where the times of the report begin.
    """
    workers = set(summary.workers) | ends(trace.happenings).keys()
    known = trace.facts.get("workers")
    if isinstance(known, int):
        workers |= set(range(known))
    return [
        _fate(worker, table[table["worker"] == worker], trace, summary, origin_s)
        for worker in sorted(workers)
    ]


def table(
    trace: Trace, pushes: Table, summary: Summary, origin_s: float
) -> html_page.Table:
    """Returns the table of the workers; arguments are those of ``find``."""
    found = [_row(one) for one in find(trace, pushes, summary, origin_s)]
    return html_page.Table("Workers", "worker", _COLUMNS, found, _LEGEND)


def _row(fate: WorkerOutcome) -> tuple[int, tuple[str, ...], str, bool]:
    cells = (
        grouped(fate.pushes),
        grouped(fate.batches),
        grouped(fate.dropped),
        "-" if fate.waited is None else percent(fate.waited),
        "-" if fate.max_lead is None else str(fate.max_lead),
        "-" if fate.mean_staleness is None else f"{fate.mean_staleness:.2f}",
        "-" if fate.max_staleness is None else str(fate.max_staleness),
    )
    return fate.worker, cells, fate.end, fate.end.startswith((LOST, FAILED))


def ends(happenings: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Returns the happening that ended each worker; a loss counts before a finish."""
    found: dict[int, Mapping[str, Any]] = {}
    for happening in happenings:
        worker, kind = happening.get("worker"), happening["kind"]
        if kind not in _ENDS or not isinstance(worker, int):
            continue
        before = found.get(worker)
        if before is None or _ENDS.index(kind) < _ENDS.index(before["kind"]):
            found[worker] = happening
    return found


def worth_words(happenings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns what happened without what is drawn, by time."""
    shown = [one for one in happenings if one["kind"] not in _DRAWN]
    return sorted(shown, key=lambda one: one["time_s"])


def epoch_name(epoch: int) -> str:
    """Returns what a user calls an epoch, counted from 1, as Keras counts on screen.

    Args:
        epoch: As :class:`EpochId` packs it.
    """
    fit, index = EpochId.unpack(epoch)
    return f"epoch {index + 1}" if fit <= 1 else f"fit {fit}, epoch {index + 1}"


def in_words(happening: Mapping[str, Any]) -> str:
    """Returns one happening as a sentence without its time."""
    more = {k: v for k, v in happening.items() if k not in ("kind", "time_s")}
    kind, worker = str(happening["kind"]), more.pop("worker", None)
    who = "a worker" if worker is None else f"worker {worker}"
    if kind in _PHRASES:
        words = _PHRASES[kind].format(who=who)
    else:
        words = kind if worker is None else f"{kind}, {who}"
    rest = [str(v) if k == "text" else f"{k} {v}" for k, v in more.items()]
    return f"{words}: {', '.join(rest)}" if rest else words


def _fate(
    worker: int, mine: Table, trace: Trace, summary: Summary, origin_s: float
) -> WorkerOutcome:
    end = ends(trace.happenings).get(worker)
    word = ""
    if end is not None:
        word = f"{end['kind']} at {end['time_s'] - origin_s:.1f} s"
    if not len(mine):
        return WorkerOutcome(worker, 0, 0, 0, None, None, None, None, word)
    staleness = mine["staleness"][mine["use"] == Use.UPDATE]
    own = mine[mine["use"] == Use.OWN]
    told = own if len(own) else mine  # with local steps, a push is of no batch
    return WorkerOutcome(
        worker,
        summary.pushes_of(worker),
        _batches(told),
        summary.dropped_of(worker),
        summary.waited(worker),
        int(told["lead"].max()),
        float(staleness.mean()) if len(staleness) else None,
        int(staleness.max()) if len(staleness) else None,
        word,
    )


def _batches(told: Table) -> int:
    """Returns how many batches some pushes or steps are of."""
    numbered = told[told["number"] >= 0]
    pairs = np.stack([numbered["epoch"], numbered["number"]])
    # Batches without a number are told apart by what the first group was told.
    unnamed = told[(told["number"] < 0) & (told["group"] == told["group"].min())]
    return np.unique(pairs, axis=1).shape[1] + len(unnamed)
