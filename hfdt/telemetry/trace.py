"""The record of a run, read: the lives of a job, each with its ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple

from fdtcore.telemetry import trace_file
from fdtcore.telemetry.trace_file import FACTS, FAILED, FINISHED
from hfdt.telemetry.recorder import GRADIENTS, OPERATION, WORK


class RecordedOperation(NamedTuple):
    """An operation, or the work around some; times are those of the rank's clock."""

    name: str  # without the framework's
    what: str
    num_bytes: int
    begun_s: float
    ended_s: float
    is_traced: bool


class RecordedGradients(NamedTuple):
    """An optimizer that a step was traced with."""

    name: str
    time_s: float
    num_bytes: int


@dataclasses.dataclass
class RankRecord:
    """What one rank has written in one life of the job."""

    facts: Mapping[str, Any]
    operations: list[RecordedOperation] = field(default_factory=list)
    works: list[RecordedOperation] = field(default_factory=list)
    gradients: list[RecordedGradients] = field(default_factory=list)
    happenings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def end(self) -> dict[str, Any] | None:
        """How it ended, where it has said so; a failure counts before a finish."""
        for kind in (FAILED, FINISHED):
            for one in self.happenings:
                if one["kind"] == kind:
                    return one
        return None

    @property
    def last_s(self) -> float:
        """When it has done something for the last time."""
        times_s = [one.ended_s for one in (*self.operations, *self.works)]
        times_s += [one["time_s"] for one in self.happenings]
        return max([float(self.facts["begun_s"]), *times_s])


Life = dict[int, RankRecord]  # by rank


class JobRecord(NamedTuple):
    """What a job has left."""

    lives: list[Life]  # by time; the first rank is in each
    missing: list[int]  # ranks without a file

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the last life, without those of one rank alone."""
        own = ("framework", "rank", "host", "begun_s")
        facts = self.lives[-1][0].facts
        return {name: value for name, value in facts.items() if name not in own}


def read(directory: str | Path) -> JobRecord:
    """Reads the files of all ranks, also of a run which goes on or was killed.

    Args:
        directory: The folder; a file of it will do.

    Raises:
        ValueError: The trace is missing, damaged before its last line, or NFDT's.
    """
    folder = Path(directory)
    folder = folder.parent if folder.is_file() else folder
    first = _records(folder / trace_file.NAME)
    # A file that an earlier job has left on another machine is of none of these.
    lives: dict[float, Life] = {one.facts["begun_s"]: {0: one} for one in first}
    for path in sorted(folder.glob("trace-*.jsonl")):
        for one in _records(path):
            if (begun_s := one.facts["begun_s"]) in lives:
                lives[begun_s][one.facts["rank"]] = one
    if not lives:
        raise ValueError(
            f"a trace must begin with the facts of its job. Received: {folder} without "
            "them. Run the job again: hfdt run --trace DIR."
        )
    wanted = {rank for life in lives.values() for rank in range(life[0].facts["ranks"])}
    found = {rank for life in lives.values() for rank in life}
    return JobRecord([lives[one] for one in sorted(lives)], sorted(wanted - found))


def _records(path: Path) -> list[RankRecord]:
    found: list[RankRecord] = []

    def take(line: dict[str, Any]) -> None:
        if line["kind"] == FACTS:
            facts = {key: value for key, value in line.items() if key != "kind"}
            facts["begun_s"] = float(facts["begun_s"])
            facts["rank"], facts["ranks"] = int(facts["rank"]), int(facts["ranks"])
            found.append(RankRecord(facts))
        elif not found:
            raise ValueError("facts come first")
        else:
            _take(found[-1], line)

    trace_file.read(path, take, "hfdt")
    return found


def _take(record: RankRecord, line: dict[str, Any]) -> None:
    kind = line["kind"]
    if kind in (OPERATION, WORK):
        one = RecordedOperation(
            line["name"],
            line.get("what", kind),
            int(line.get("bytes", 0)),
            float(line["begun_s"]),
            float(line["ended_s"]),
            bool(line.get("traced", False)),
        )
        (record.works if kind == WORK else record.operations).append(one)
    elif kind == GRADIENTS:
        record.gradients.append(
            RecordedGradients(line["name"], float(line["time_s"]), int(line["bytes"]))
        )
    else:
        float(line["time_s"])  # every happening has its time
        record.happenings.append(line)
