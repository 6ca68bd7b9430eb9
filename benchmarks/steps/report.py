"""Tables and figures of what steps cost."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.ratios import Spread, speeds, spread
from benchmarks.steps import server
from benchmarks.steps.contenders import CONTENDERS, Place
from benchmarks.steps.measurement import WorkSteps
from benchmarks.steps.server import Update
from benchmarks.steps.targets import (
    EPOCH_END,
    FAULTS,
    FIT,
    STEP,
    Row,
    StepRound,
    of_round,
)
from benchmarks.steps.works import StepWork

_QUANTITIES = {STEP: "ms a step", FAULTS: "page faults", FIT: "ms a fit"}


def step_table(found: WorkSteps, place: Place) -> str:
    """Return what each contender of a work gave: medians, and the step's spread."""
    has_ends = any(of_round(one, EPOCH_END) for one in found.rounds)
    titles = {**_QUANTITIES, **({EPOCH_END: "ms an end"} if has_ends else {})}
    measured = {q: [of_round(one, q) for one in found.rounds] for q in titles}
    cells = []
    for name in found.work.contenders:
        if not speeds(measured[STEP], name):
            continue
        spreads = {q: spread(speeds(rounds, name)) for q, rounds in measured.items()}
        contender, step = CONTENDERS[name], spreads[STEP]
        images = found.work.batch * contender.ranks(place)
        cells.append(
            [
                contender.title,
                f"{step.median:.2f}",
                f"{step.low:.2f} .. {step.high:.2f}",
                *(f"{s.median:.0f}" for q, s in spreads.items() if q != STEP),
                f"{1e3 * images / step.median:.0f}",
                str(step.rounds),
            ]
        )
    first, *rest = titles.values()
    header = [found.work.title, first, "min .. max", *rest, "images/s", "rounds"]
    return report.table(header, cells)


def update_table(rounds: Sequence[Mapping[str, Update]]) -> str:
    """Return what an update of the server took, here and at another commit."""
    cells = []
    for name, title in server.TITLES.items():
        found = [one[name] for one in rounds if name in one]
        if found:
            took, memory = (spread(values) for values in zip(*found, strict=True))
            between = f"{1e3 / took.high:.2f} .. {1e3 / took.low:.2f}"
            speed, peak = f"{1e3 / took.median:.2f}", f"{memory.median:.0f}"
            cells.append([title, speed, between, peak, str(len(found))])
    header = [server.TITLE, "updates/s", "min .. max", "MiB", "rounds"]
    return report.table(header, cells)


def target_table(rows: Sequence[Row]) -> str:
    """Return the table of targets: measured, wanted, reached or not."""
    cells = []
    for row in rows:
        target, found = row.target, row.found
        beside = f" / {_title(target.reference)}" if target.reference else ""
        sign = ">=" if target.is_least else "<="
        cells.append(
            [
                f"{row.work}: {target.quantity}, {_title(target.contender)}{beside}",
                *_numbers(found),
                f"{sign} {target.bound:g}",
                row.verdict,
            ]
        )
    return report.table(["target", "median", "min .. max", "wanted", "verdict"], cells)


def _numbers(found: Spread) -> tuple[str, str]:
    digits = 0 if found.median >= 100 else 2
    return (
        f"{found.median:.{digits}f}",
        f"{found.low:.{digits}f} .. {found.high:.{digits}f}",
    )


def _title(name: str) -> str:
    return CONTENDERS[name].title if name in CONTENDERS else server.TITLES[name]


def describe(work: StepWork) -> dict[str, Any]:
    """Return what a work is, for the file of figures."""
    return {
        "title": work.title,
        "batch": work.batch,
        "data": work.data,
        "fits": [str(fit) for fit in work.fits],
    }


def as_json(rounds: Sequence[StepRound], rows: Sequence[Row]) -> dict[str, Any]:
    """Return every round and the targets of a work, for the file of figures."""
    return {
        "rounds": [
            {name: _figures(found._asdict()) for name, found in one.items()}
            for one in rounds
        ],
        "targets": [
            {
                **row.target._asdict(),
                "values": [round(value, 4) for value in row.values],
                "median": round(row.found.median, 4),
                "verdict": row.verdict,
            }
            for row in rows
        ],
    }


def _figures(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a step, without where its code was."""
    return {k: round(v, 4) for k, v in found.items() if isinstance(v, float)}


def merge(path: Path, works: Mapping[str, Any]) -> dict[str, Any]:
    """Put what was found of works in place of what a file has of them, and return all.

    Args:
        path: The file of figures; it need not exist.
        works: Work -> what was found of it, with what the figures depend on.
    """
    known = json.loads(path.read_text())["works"] if path.is_file() else {}
    content = {"works": {**known, **works}}
    path.write_text(json.dumps(content, indent=2) + "\n")
    return content["works"]
