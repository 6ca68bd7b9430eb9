"""Observations of short runs of a script, and the differences between two runs."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from fdtcore.shadow_files.shadow import REAL

# Float32 sums in another order, magnified by some steps of an optimizer.
TOLERANCE = 2e-3


@dataclasses.dataclass(frozen=True)
class Observation:
    """One ``fit``, or all loops by hand, of one process.

    Args:
        what: Its name, with the line of the script.
        history: Name of a loss or metric -> its value after each epoch.
        weights: Path of a variable -> some of its values, at the end.
        iterations: Name of an optimizer -> its count.
        layers: ``"draws"`` and ``"normalizes"`` -> names of layers that do.
    """

    what: str
    history: dict[str, list[float]]
    weights: dict[str, list[float]]
    iterations: dict[str, int]
    layers: dict[str, list[str]]

    @property
    def num_steps(self) -> int:
        """Steps that were made, as the optimizers count them."""
        return max(self.iterations.values(), default=0)


class Difference(NamedTuple):
    """A number that two runs do not agree on."""

    what: str  # where it was found
    name: str  # of the number
    one: float
    other: float

    def __str__(self) -> str:
        return f"{self.name} is {self.other:.5g} instead of {self.one:.5g}"


def file_name(rank: int) -> str:
    """Returns the name of the file that a process writes."""
    return f"observations-{rank}.json"


def write(path: str, found: Sequence[Observation]) -> None:
    """Writes what one process has come to."""
    # Ranks whose files go elsewhere still write this one.
    with REAL.open(path, "w") as file:
        json.dump([dataclasses.asdict(one) for one in found], file)


def read(folder: pathlib.Path, rank: int) -> list[Observation]:
    """Returns what a process has written; nothing where it has written nothing."""
    path = folder / file_name(rank)
    if not path.exists():
        return []
    loaded: list[dict[str, Any]] = json.loads(path.read_text())
    return [Observation(**one) for one in loaded]


def differences(
    first: Sequence[Observation],
    second: Sequence[Observation],
    tolerance: float = TOLERANCE,
) -> list[Difference]:
    """Returns where two runs of one script differ.

    Args:
        first: Observations of one process.
        second: Of the other run.
        tolerance: Of the larger one of two values, or of the largest value of a
            variable.
    """
    found = []
    for one, other in zip(first, second):
        for name, values in one.history.items():
            theirs = other.history.get(name, [])
            found += _of_values(one.what, name, values, theirs, tolerance)
        for name, count in one.iterations.items():
            theirs = [other.iterations.get(name, count)]
            label = f"{name}.iterations"
            found += _of_values(one.what, label, [count], theirs, 0.0)
        # Only the worst of all weights: they all move together.
        worst = [
            difference
            for name, values in one.weights.items()
            for difference in _of_values(
                one.what, name, values, other.weights.get(name, []), tolerance, True
            )
        ]
        found += sorted(worst, key=lambda d: -abs(d.one - d.other))[:1]
    return found


def _of_values(
    what: str,
    name: str,
    values: Sequence[float],
    others: Sequence[float],
    tolerance: float,
    together: bool = False,
) -> list[Difference]:
    """The first difference between two series, if there is one.

    Args:
        what: Where they are from.
        name: What they are of.
        values: Values of one series.
        others: The other; one that is missing has nothing to be compared with.
        tolerance: How far they may be apart.
        together: Whether that is measured by the largest of all values.
    """
    largest = max((abs(v) for v in (*values, *others) if math.isfinite(v)), default=0.0)
    for value, other in zip(values, others):
        if math.isnan(value) and math.isnan(other):
            continue
        scale = largest if together else max(abs(value), abs(other))
        if not abs(value - other) <= tolerance * max(scale, 1e-6):
            return [Difference(what, name, value, other)]
    return []
