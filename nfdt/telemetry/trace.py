"""The trace of a run: one JSON object per line, written during the run.

The first line holds the facts of the job, every other one a push or a local step of a
worker, or a happening: a worker was lost, failed or finished, a gradient was refused, a
barrier ended, a monitor was read. Times are those of the server's clock. What JSON has
no number for is null, and read as NaN.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from fdtcore.telemetry import trace_file
from fdtcore.telemetry.trace_file import FACTS, NAME, TraceFile
from nfdt.protocol.events import Event

PUSH, REFUSED = "push", "refused"
_TYPES = get_type_hints(Event)


@dataclass(frozen=True)
class Trace:
    """What a run has left.

    Args:
        facts: Facts of the job: name -> value.
        events: Its pushes, by the time of their release.
        happenings: What else there was: ``kind``, ``time_s``, mostly ``worker``.
    """

    facts: Mapping[str, Any]
    events: list[Event]
    happenings: list[dict[str, Any]]


class TraceWriter(TraceFile):
    """Writes the trace of one run, in place of an earlier one.

    Args:
        directory: The folder, which is made.
        facts: Of the job: algorithm, consistency, workers, servers, batch ...

    Raises:
        ValueError: The folder cannot be written to.
    """

    def add(self, events: Iterable[Event]) -> None:
        """Writes pushes, and hands them to the system at once."""
        self.write({"kind": PUSH, **event._asdict()} for event in events)


def read(directory: str | Path) -> Trace:
    """Reads a trace, also that of a run which goes on or was killed.

    Args:
        directory: The folder; the file itself will do.

    Raises:
        ValueError: The trace is missing, damaged before its last line, or HFDT's.
    """
    path = Path(directory)
    path = path if path.is_file() else path / NAME
    trace = Trace({}, [], [])

    def take(line: dict[str, Any]) -> None:
        nonlocal trace
        trace = _with_line(trace, line)

    trace_file.read(path, take, "nfdt")
    return trace


def _with_line(trace: Trace, line: dict[str, Any]) -> Trace:
    kind = line["kind"]
    if kind == FACTS:
        facts = {key: value for key, value in line.items() if key != "kind"}
        return dataclasses.replace(trace, facts=facts)
    if kind == PUSH:
        trace.events.append(_event(line))
    else:
        float(line["time_s"])  # every happening has its time
        trace.happenings.append(line)
    return trace


def _event(line: Mapping[str, Any]) -> Event:
    line = {**Event._field_defaults, **line}
    values: dict[str, Any] = {
        name: math.nan if line[name] is None else kind(line[name])
        for name, kind in _TYPES.items()
    }
    return Event(**values)
