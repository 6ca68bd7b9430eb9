"""A run as trace events: what ui.perfetto.dev shows of it.

One track for each worker, with its computations and exchanges as slices; counters of
the version and of the staleness; marks for what happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fdtcore.telemetry.perfetto import counter, instant, meta, span
from nfdt.protocol.events import READINGS
from nfdt.telemetry import worker_outcomes
from nfdt.telemetry.timeline import Spans, Table, Timeline
from nfdt.telemetry.trace import Trace

_SHORTEST_WAIT_S = 1e-5  # what is below is no waiting


def events(trace: Trace, line: Timeline) -> Iterator[dict[str, Any]]:
    """Yields the trace events, those of a track by time."""
    yield meta("process_name", 0, name=_title(trace.facts))
    rows = _rows(line.table)
    for worker, spans in line.workers.items():
        yield meta("thread_name", worker, name=f"worker {worker}")
        yield meta("thread_sort_index", worker, sort_index=worker)
        yield from _slices(worker, spans, rows[worker])
    yield from _counters(line.table)
    for happening in trace.happenings:
        as_event = _speed if happening["kind"] == READINGS else _instant
        yield as_event(happening, line.origin_s)


def _rows(table: Table) -> Mapping[int, list[dict[str, Any]]]:
    """Returns the pushes of each worker, in the order of their arrival."""
    rows: dict[int, list[dict[str, Any]]] = {}
    names = table.dtype.names or ()
    for values in table.tolist():
        row = dict(zip(names, values, strict=True))
        rows.setdefault(row["worker"], []).append(row)
    return rows


def _slices(
    worker: int, spans: Spans, rows: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    times_us = np.round(np.stack(spans).T * 1e6, 3).tolist()
    for (start, pushed, waited, released), row in zip(times_us, rows, strict=True):
        batch = {name: row[name] for name in ("epoch", "number", "clock", "loss")}
        yield span("compute", worker, start, pushed, batch)
        late = {name: row[name] for name in ("version", "staleness", "lead", "group")}
        yield span("exchange", worker, pushed, released, late)
        if waited - pushed > 1e6 * _SHORTEST_WAIT_S:
            yield span("held by the server", worker, pushed, waited, {})


def _counters(table: Table) -> Iterator[dict[str, Any]]:
    for row in table[["time_s", "group", "version", "staleness"]].tolist():
        time_s, group, version, staleness = row
        suffix = f" of group {group}" if group else ""
        for name, value in (("version", version), ("staleness", staleness)):
            yield counter(name + suffix, time_s, {name: value})


def _speed(readings: Mapping[str, Any], origin_s: float) -> dict[str, Any]:
    name = f"steps/s of worker {readings['worker']}"
    time_s = max(0.0, readings["time_s"] - origin_s)
    return counter(name, time_s, {"steps/s": readings["steps_per_s"]})


def _instant(happening: Mapping[str, Any], origin_s: float) -> dict[str, Any]:
    worker = happening.get("worker")
    return instant(
        worker_outcomes.in_words(happening),
        happening["time_s"] - origin_s,
        worker if isinstance(worker, int) else None,
    )


def _title(facts: Mapping[str, Any]) -> str:
    return f"nfdt {facts.get('algorithm', '')}".strip()
