"""A run in Chrome's trace event format, which ui.perfetto.dev shows.

One track for each worker, with its computations and exchanges as slices; counters of
the version and of the staleness; marks for what happened.

Source: "Trace Event Format", Google, 2016; phases X (complete), C (counter), i
(instant) and M (metadata), times in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nfdt.protocol.events import READINGS
from nfdt.telemetry import worker_outcomes
from nfdt.telemetry.timeline import Spans, Table, Timeline
from nfdt.telemetry.trace import Trace, strict_json

NAME = "trace.perfetto.json"
_PROCESS = 1  # 0 is an idle task to viewers
_SHORTEST_WAIT_S = 1e-5  # what is below is no waiting


def events(trace: Trace, line: Timeline) -> Iterator[dict[str, Any]]:
    """Yields the trace events, those of a track by time."""
    yield _meta("process_name", 0, name=_title(trace.facts))
    rows = _rows(line.table)
    for worker, spans in line.workers.items():
        yield _meta("thread_name", worker, name=f"worker {worker}")
        yield _meta("thread_sort_index", worker, sort_index=worker)
        yield from _slices(worker, spans, rows[worker])
    yield from _counters(line.table)
    for happening in trace.happenings:
        as_event = _speed if happening["kind"] == READINGS else _instant
        yield as_event(happening, line.origin_s)


def write(path: Path, trace: Trace, line: Timeline) -> None:
    """Writes the file, event by event: a long run has many."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"displayTimeUnit":"ms","otherData":{strict_json(trace.facts)},')
        file.write('"traceEvents":[\n')
        for index, event in enumerate(events(trace, line)):
            file.write((",\n" if index else "") + strict_json(event))
        file.write("\n]}\n")


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
        yield _slice("compute", worker, start, pushed, batch)
        late = {name: row[name] for name in ("version", "staleness", "lead", "group")}
        yield _slice("exchange", worker, pushed, released, late)
        if waited - pushed > 1e6 * _SHORTEST_WAIT_S:
            yield _slice("held by the server", worker, pushed, waited, {})


def _slice(
    name: str, worker: int, start: float, end: float, args: Mapping[str, Any]
) -> dict[str, Any]:
    place = {"pid": _PROCESS, "tid": worker, "ts": start, "dur": round(end - start, 3)}
    return {"ph": "X", "name": name, "cat": "worker", **place, "args": args}


def _counters(table: Table) -> Iterator[dict[str, Any]]:
    for row in table[["time_s", "group", "version", "staleness"]].tolist():
        time_s, group, version, staleness = row
        suffix = f" of group {group}" if group else ""
        for name, value in (("version", version), ("staleness", staleness)):
            yield _counter(name + suffix, time_s, {name: value})


def _speed(readings: Mapping[str, Any], origin_s: float) -> dict[str, Any]:
    name = f"steps/s of worker {readings['worker']}"
    time_s = max(0.0, readings["time_s"] - origin_s)
    return _counter(name, time_s, {"steps/s": readings["steps_per_s"]})


def _counter(name: str, time_s: float, args: Mapping[str, Any]) -> dict[str, Any]:
    place = {"pid": _PROCESS, "ts": round(1e6 * time_s, 3)}
    return {"ph": "C", "name": name, **place, "args": args}


def _instant(happening: Mapping[str, Any], origin_s: float) -> dict[str, Any]:
    worker = happening.get("worker")
    has_track = isinstance(worker, int)
    return {
        "ph": "i",
        "name": worker_outcomes.in_words(happening),
        "cat": "happening",
        "pid": _PROCESS,
        "ts": round(1e6 * max(0.0, happening["time_s"] - origin_s), 3),
        "tid": worker if has_track else 0,
        "s": "t" if has_track else "p",  # across one track, or all
    }


def _meta(name: str, worker: int, /, **args: Any) -> dict[str, Any]:
    place = {"pid": _PROCESS, "tid": worker, "ts": 0}
    return {"ph": "M", "name": name, **place, "args": args}


def _title(facts: Mapping[str, Any]) -> str:
    return f"nfdt {facts.get('algorithm', '')}".strip()
