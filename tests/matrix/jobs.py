"""Runs cells: those that are started alike in one job, and plain Keras beside them."""

from __future__ import annotations

import itertools
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from tests.matrix import axes
from tests.matrix.axes import WAYS, Cell
from tests.processes import ROOT, run

PROGRAM = pathlib.Path(__file__).parent / "program.py"
CLUSTER = ROOT / "examples" / "clusters" / "even.yaml"
Arrays = Mapping[str, np.ndarray]
TIME_LIMIT_S = 2400  # for up to a hundred cells


class Outcome:
    """What one cell has come to.

    Args:
        arrays: What each process ended with, by rank.
        error: Why there is nothing.
    """

    def __init__(self, arrays: list[Arrays], error: str = ""):
        self.arrays, self.error = arrays, error


def command(way: str, form: str, launch: str) -> list[str]:
    """Returns what starts the program of a cell."""
    framework, workers, servers, is_simulated = WAYS[way]
    if is_simulated:
        words = ["simulate", "--cluster", str(CLUSTER), "--workers", str(workers)]
        return [sys.executable, "-m", "nfdt.cli", *words]
    if launch == "run":
        more = ["--servers", str(servers)] if framework == "nfdt" else []
        words = ["run", "-np", str(workers), *more]
        return [sys.executable, "-m", f"{framework}.cli", *words]
    processes = workers + servers if workers > 1 else 1
    more = ["--with-ft", "ulfm"] if framework == "nfdt" else []
    words = ["mpirun", *more, "--oversubscribe", "-np", str(processes)]
    unchanged = ["-m", framework] if form == "unchanged" else []
    return [*words, sys.executable, *unchanged]


def environ(way: str) -> dict[str, str]:
    """Returns the choices of a way that its command does not say."""
    framework, _, servers, _ = WAYS[way]
    if framework == "hfdt":
        return {}
    several = {"NFDT_SERVERS": str(servers)} if servers > 1 else {}
    # The default rule has one server.
    return {**several, "NFDT_ALGORITHM": "asgd" if servers > 1 else "ddc-asgd"}


def start_of(index: str, cell: Cell) -> tuple[str, ...]:
    """Returns what the cells of one job have in common.

    A simulation trains one model: a job of its own for each cell.
    """
    start = cell["way"], cell["form"], cell["launch"]
    return (*start, index) if WAYS[cell["way"]].is_simulated else start


def started_alike(cells: Mapping[str, Cell]) -> Iterator[tuple[tuple, dict[str, Cell]]]:
    """Yields how cells are started, and those that are one job."""

    def start(item: tuple[str, Cell]) -> tuple[str, ...]:
        return start_of(*item)

    for key, group in itertools.groupby(sorted(cells.items(), key=start), start):
        yield key, dict(group)


def alike(start: tuple[str, ...], cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Returns the cells of one way, form and launch, whose plain runs are one process.

    Args:
        start: What the cells of one job have in common.
        cells: By index.
    """
    return {i: c for i, c in cells.items() if start_of(i, c)[:3] == start[:3]}


def plain(cells: Mapping[str, Cell], folder: pathlib.Path) -> dict[str, Outcome]:
    """Trains cells on one process that knows of no framework."""
    return _finished([sys.executable], cells, folder, 1, {}, "plain")


def started(
    start: tuple[str, ...], cells: Mapping[str, Cell], folder: pathlib.Path
) -> dict[str, Outcome]:
    """Trains cells that are started alike."""
    way, form, launch, *_ = start
    num_ranks = 1 if WAYS[way].is_simulated else WAYS[way].workers
    words = command(way, form, launch)
    return _finished(words, cells, folder, num_ranks, environ(way))


def _finished(
    words: list[str],
    cells: Mapping[str, Cell],
    folder: pathlib.Path,
    num_ranks: int,
    variables: Mapping[str, str],
    *more: str,
) -> dict[str, Outcome]:
    """Runs a job, and again without the cell that it failed at, until all are done."""
    found: dict[str, Outcome] = {}
    while left := {index: c for index, c in cells.items() if index not in found}:
        table = folder / "cells.json"
        table.write_text(json.dumps(left))
        job = run(
            *(*words, PROGRAM, table, folder, *more),
            folder=folder,
            time_limit_s=TIME_LIMIT_S,
            **variables,
        )
        before = len(found)
        for index in left:
            paths = [folder / f"{index}.{rank}.npz" for rank in range(num_ranks)]
            arrays = [_read(path) for path in paths if path.exists()]
            errors = [str(one["error"]) for one in arrays if "error" in one]
            if errors or len(arrays) < num_ranks:
                said = errors[0] if errors else ""
                output = f"{said}\n{job.stdout[-1500:]}\n{job.stderr[-3000:]}"
                found[index] = Outcome([], f"code {job.returncode}\n{output}")
                break  # what comes after it may be well
            found[index] = Outcome(arrays)
        if job.returncode and all(found[i].arrays for i in list(found)[before:]):
            last = list(found)[-1]
            ended = f"code {job.returncode} at the end of the job\n{job.stderr[-3000:]}"
            found[last] = Outcome([], ended)
    return found


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


# Float32 sums in another order; some optimizers magnify what they differ by.
TOLERANCE = 5e-4
LOOSE = {
    "adadelta": 2e-3,
    "adafactor": 2e-3,
    "ftrl": 2e-3,
    "lamb": 2e-3,
    "lion": 2e-2,
    "muon": 5e-3,
}


def problems(cell: Cell, outcome: Outcome, plain: Arrays) -> list[str]:
    """Returns what is wrong with what a cell has come to, against plain Keras."""
    if outcome.error:
        return [outcome.error]
    first, *others = outcome.arrays
    exact = axes.WAYS[cell["way"]].is_exact
    # Where nobody waits, a schedule has come further on a worker that looks later.
    moves = not exact and cell["rate"] in ("schedule", "own_schedule")
    found = []
    for rank, other in enumerate(others, 1):
        found += [
            f"{name} is {_shown(first[name], other[name])} on ranks 0 and {rank}"
            for name in first
            if not (moves and name == "seen rates")
            and not _close(first[name], other[name], 1e-6)
        ]
    if set(first) != set(plain):
        found.append(f"names differ: {sorted(set(first) ^ set(plain))}")
    loose = LOOSE.get(cell["optimizer"], TOLERANCE)
    for name in sorted(set(first) & set(plain)):
        value, right = first[name], plain[name]
        if exact or name in ("iterations", "label"):
            if not _close(value, right, loose):
                found.append(f"{name} is {_shown(value, right)} in place of the last")
        elif value.shape != right.shape or not np.all(np.isfinite(value)):
            found.append(f"{name} is {value}, where one process has {right}")
    return found


def _shown(one: np.ndarray, other: np.ndarray) -> str:
    """Two arrays where they differ most."""
    if one.shape != other.shape or not one.shape:
        return f"{one} and {other}"
    place = np.unravel_index(np.argmax(np.abs(one - other)), one.shape)
    return f"{one[place]:.6g} and {other[place]:.6g} at {tuple(map(int, place))}"


def _close(value: np.ndarray, right: np.ndarray, tolerance: float) -> bool:
    same = value.shape == right.shape
    return same and np.allclose(value, right, rtol=tolerance, atol=tolerance / 5)
