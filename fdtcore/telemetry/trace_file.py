"""The file of a trace: one JSON object per line, written during the run.

The first line holds the facts of the job; each has its ``kind``, every other but
records of a framework's own a ``time_s``, on a clock that begins anywhere. JSON knows
neither NaN nor infinity: both are written as null.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

NAME = "trace.jsonl"
FACTS = "facts"
LOST, FAILED, FINISHED = "lost", "failed", "finished"


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


class TraceFile:
    """Writes the lines of one trace.

    A disk that fills up must not end a training that goes well: then the trace ends
    where it is, and ``problem`` says why.

    Args:
        directory: The folder, which is made.
        facts: Of the job, its first line: name -> value.
        name: Of the file.
        goes_on: Whether it goes on with what is there; else it takes its place.

    Raises:
        ValueError: The folder cannot be written to.
    """

    def __init__(
        self,
        directory: str | Path,
        facts: Mapping[str, Any],
        name: str = NAME,
        *,
        goes_on: bool = False,
    ):
        check_directory(directory)
        self.path = Path(directory, name)
        self.problem: str | None = None  # why nothing is written any more
        try:
            if goes_on and self.path.exists():
                _end_last_line(self.path)
            if not goes_on:
                self.path.write_text("")
            self._file: TextIO | None = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise ValueError(_unwritable(directory, error)) from error
        self.write([{"kind": FACTS, **facts}])

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Writes lines, and hands them to the system at once."""
        text = "".join(f"{strict_json(line)}\n" for line in lines)
        if self._file is None or not text:
            return
        try:
            # In one piece and flushed: a job that is killed leaves whole lines.
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self.problem = _unwritable(self.path, error)
            self.close()

    def note(self, kind: str, time_s: float, **more: object) -> None:
        """Writes one happening.

        Args:
            kind: LOST, FAILED, FINISHED, or a word of one's own.
            time_s: On the clock of the trace.
            **more: Who, ``text`` ...
        """
        self.write([{"kind": kind, "time_s": time_s, **more}])

    def close(self) -> None:
        """Ends the trace; may be called twice."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.problem = self.problem or _unwritable(self.path, error)


def read(path: Path, take: Callable[[dict[str, Any]], None], program: str) -> None:
    """Reads a trace line by line, also that of a run which goes on or was killed.

    Args:
        path: The file.
        take: Takes a line in; a ValueError, KeyError or TypeError means that it lacks
            something.
        program: Whose traces these are, for messages.

    Raises:
        ValueError: The trace is missing, or damaged before its last line.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ValueError(
            f"a folder must hold {NAME} of a run. Received: {path} "
            f"({error.strerror}). Write one with {program} run --trace DIR."
        ) from error
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            author = _author(found)
            if author in (None, program):
                take(found)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # the job was killed while it wrote
            raise ValueError(
                f"a trace must be one JSON object a line. Received: line {number} of "
                f"{path}: {line[:60]!r}. Delete that line to read the rest."
            ) from error
        if author not in (None, program):
            raise ValueError(
                f"{program} report draws traces of {program} run. Received: {path} of "
                f"{author} run. Run: {author} report {path.parent}"
            )


def _author(line: dict[str, Any]) -> str | None:
    """Returns the framework that has written a trace, from its facts."""
    return line.get("framework", "nfdt") if line["kind"] == FACTS else None


def strict_json(value: object) -> str:
    """Returns JSON that every reader takes: null for NaN and infinity.

    Numbers of NumPy become numbers, what JSON has no word for becomes text.
    """
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))


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


def _end_last_line(path: Path) -> None:
    """Removes the half of a line that a job which was killed has left."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        path.write_bytes(content[:whole])


def _unwritable(place: str | Path, error: OSError) -> str:
    return (
        "the folder of a trace must be writable. "
        f"Received: {place} ({error.strerror}). Name another one."
    )
