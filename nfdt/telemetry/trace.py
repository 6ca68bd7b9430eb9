"""The trace of a run: one JSON object per line, written during the run.

The first line holds the facts of the job, every other one a push or a local step of a
worker, or a happening: a worker was lost, failed or finished, a gradient was refused, a
barrier ended, a monitor was read. Times are those of the server's clock, which begins
anywhere. JSON knows neither NaN nor infinity: both are written as null,
and read as NaN.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, get_type_hints

from nfdt.protocol.events import Event

NAME = "trace.jsonl"
FACTS, PUSH = "facts", "push"
LOST, FAILED, FINISHED = "lost", "failed", "finished"
REFUSED = "refused"
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


def check_directory(directory: str | Path) -> None:
    """Makes the folder of a trace, and tries to write in it.

    Raises:
        ValueError: The folder cannot be made or written to.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(_unwritable(directory, error)) from error


class TraceWriter:
    """Writes the trace of one run, in place of an earlier one.

    A disk that fills up must not end a training that goes well: then the trace ends
    where it is, and ``problem`` says why.

    Args:
        directory: The folder, which is made.
        facts: Of the job: algorithm, consistency, workers, servers, batch ...

    Raises:
        ValueError: The folder cannot be written to.
    """

    def __init__(self, directory: str | Path, facts: Mapping[str, Any]):
        check_directory(directory)
        self.path = Path(directory, NAME)
        self.problem: str | None = None  # why nothing is written any more
        try:
            self._file: TextIO | None = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise ValueError(_unwritable(directory, error)) from error
        self._write([{"kind": FACTS, **facts}])

    def write(self, events: Iterable[Event]) -> None:
        """Writes pushes, and hands them to the system at once."""
        self._write([{"kind": PUSH, **event._asdict()} for event in events])

    def note(self, kind: str, time_s: float, **more: object) -> None:
        """Writes one happening.

        Args:
            kind: LOST, FAILED, FINISHED, REFUSED, or a word of one's own.
            time_s: On the server's clock.
            **more: ``worker``, ``epoch``, ``text`` ...
        """
        assert kind not in (FACTS, PUSH)
        self._write([{"kind": kind, "time_s": time_s, **more}])

    def close(self) -> None:
        """Ends the trace; may be called twice."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.problem = self.problem or _unwritable(self.path, error)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._file is None or not lines:
            return
        try:
            # In one piece and flushed: a job that is killed leaves whole lines.
            self._file.write("".join(f"{strict_json(line)}\n" for line in lines))
            self._file.flush()
        except OSError as error:
            self.problem = _unwritable(self.path, error)
            self.close()


def strict_json(value: object) -> str:
    """Returns JSON that every reader takes: null for NaN and infinity.

    Numbers of NumPy become numbers, what JSON has no word for becomes text.
    """
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))


def read(directory: str | Path) -> Trace:
    """Reads a trace, also that of a run which goes on or was killed.

    Args:
        directory: The folder; the file itself will do.

    Raises:
        ValueError: The trace is missing, or damaged before its last line.
    """
    path = Path(directory)
    path = path if path.is_file() else path / NAME
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ValueError(
            f"a folder must hold {NAME} of a run. Received: {path} "
            f"({error.strerror}). Write one with nfdt run --trace DIR."
        ) from error
    trace = Trace({}, [], [])
    for number, line in enumerate(lines, start=1):
        try:
            trace = _with_line(trace, json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # the job was killed while it wrote
            raise ValueError(
                f"a trace must be one JSON object a line. Received: line {number} of "
                f"{path}: {line[:60]!r}. Delete that line to read the rest."
            ) from error
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


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return _plain(value.item())  # a number of NumPy
    return str(value)


def _unwritable(place: str | Path, error: OSError) -> str:
    return (
        "the folder of a trace must be writable. "
        f"Received: {place} ({error.strerror}). Name another one."
    )
