"""Chrome's trace event format, which ui.perfetto.dev shows.

Source: "Trace Event Format", Google, 2016; phases X (complete), C (counter), i
(instant) and M (metadata), times in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fdtcore.telemetry.trace_file import strict_json

NAME = "trace.perfetto.json"
PROCESS = 1  # 0 is an idle task to viewers


def write(
    path: Path, facts: Mapping[str, Any], events: Iterable[Mapping[str, Any]]
) -> None:
    """Writes the file, event by event: a long run has many."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"displayTimeUnit":"ms","otherData":{strict_json(facts)},')
        file.write('"traceEvents":[\n')
        for index, event in enumerate(events):
            file.write((",\n" if index else "") + strict_json(event))
        file.write("\n]}\n")


def span(
    name: str,
    track: int,
    start_us: float,
    end_us: float,
    args: Mapping[str, Any],
    *,
    process: int = PROCESS,
    category: str = "worker",
) -> dict[str, Any]:
    """Returns a slice of a track."""
    length_us = round(end_us - start_us, 3)
    place = {"pid": process, "tid": track, "ts": start_us, "dur": length_us}
    return {"ph": "X", "name": name, "cat": category, **place, "args": args}


def counter(
    name: str, time_s: float, args: Mapping[str, Any], *, process: int = PROCESS
) -> dict[str, Any]:
    """Returns a value of a counter, from a time on."""
    place = {"pid": process, "ts": round(1e6 * time_s, 3)}
    return {"ph": "C", "name": name, **place, "args": args}


def instant(
    name: str, time_s: float, track: int | None, *, process: int = PROCESS
) -> dict[str, Any]:
    """Returns a mark across one track, or across all."""
    return {
        "ph": "i",
        "name": name,
        "cat": "happening",
        "pid": process,
        "ts": round(1e6 * max(0.0, time_s), 3),
        "tid": track or 0,
        "s": "p" if track is None else "t",
    }


def meta(
    name: str, track: int, /, process: int = PROCESS, **args: Any
) -> dict[str, Any]:
    """Returns what a viewer is told of a process or a track."""
    place = {"pid": process, "tid": track, "ts": 0}
    return {"ph": "M", "name": name, **place, "args": args}
