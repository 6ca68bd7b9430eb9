"""Results on disk: one line of JSON for each run, written when it has ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.papers.runs import Outcome, Run, from_json

Results = Mapping[Run, Outcome]


def read(path: Path) -> dict[Run, Outcome]:
    """Returns the runs of a file; none where there is no file.

    A last line without an end is of a run that was interrupted while it was written:
    it does not count.
    """
    if not path.exists():
        return {}
    complete, _, _ = path.read_text().rpartition("\n")
    return dict(_record(line) for line in complete.splitlines())


def append(path: Path, run: Run, outcome: Outcome) -> None:
    """Adds a run to a file, which is made where there is none."""
    record = {"run": dataclasses.asdict(run), "outcome": outcome._asdict()}
    text = json.dumps(record, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _cut_off_incomplete_line(file)
        file.write(text.encode())


def _record(line: str) -> tuple[Run, Outcome]:
    record: dict[str, Any] = json.loads(line)
    outcome = record["outcome"]
    for name in ("accuracies", "losses"):
        outcome[name] = tuple(outcome[name])
    return from_json(record["run"]), Outcome(**outcome)


def _cut_off_incomplete_line(file: Any) -> None:
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, 2)
