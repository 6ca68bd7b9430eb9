"""Few rows that hold every combination of the values of some axes at least once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

Row = dict[str, str]
Combination = tuple[tuple[str, str], ...]  # axis and value, in the order of the axes

_TRIES = 6  # rows that are tried for each one that is taken


def combinations(
    axes: Mapping[str, Sequence[str]], strength: int
) -> Iterable[Combination]:
    """Yields every combination of values of ``strength`` axes."""
    for names in itertools.combinations(axes, strength):
        for values in itertools.product(*(axes[name] for name in names)):
            yield tuple(zip(names, values))


def covering(
    axes: Mapping[str, Sequence[str]],
    strength: int,
    is_excluded: Callable[[Mapping[str, str]], object],
    seed: int = 0,
) -> list[Row]:
    """Returns rows that hold each combination that some row can hold.

    Greedy: each row begins with a combination that is missing, and takes for each
    other axis the value that adds most.

    Args:
        axes: Name -> values.
        strength: Axes of a combination; 2 covers all pairs.
        is_excluded: Whether a row, or a part of one, is impossible.
        seed: Of the order in which axes are filled.

    Source: Cohen, Dalal, Fredman, Patton, "The AETG system: an approach to testing
    based on combinatorial design", IEEE Transactions on Software Engineering, 1997.
    """
    generator = random.Random(seed)
    missing = dict.fromkeys(
        one for one in combinations(axes, strength) if not is_excluded(dict(one))
    )
    rows: list[Row] = []
    while missing:
        first = next(iter(missing))
        tries = [
            _filled(dict(first), axes, strength, missing, is_excluded, generator)
            for _ in range(_TRIES)
        ]
        found = [row for row in tries if row is not None]
        if not found:
            del missing[first]  # no row can hold it
            continue
        best = max(found, key=lambda row: len(_held(row, axes, strength, missing)))
        for one in _held(best, axes, strength, missing):
            del missing[one]
        rows.append({axis: best[axis] for axis in axes})
    return rows


def _filled(
    row: Row,
    axes: Mapping[str, Sequence[str]],
    strength: int,
    missing: Mapping[Combination, None],
    is_excluded: Callable[[Mapping[str, str]], object],
    generator: random.Random,
) -> Row | None:
    """Gives a part of a row its other axes; None where there is no way to."""
    left = [axis for axis in axes if axis not in row]
    if not left:
        return row
    axis = generator.choice(left)
    values = list(axes[axis])
    generator.shuffle(values)
    ranked = sorted(
        values,
        key=lambda value: -_gain({**row, axis: value}, axis, axes, strength, missing),
    )
    for value in ranked:
        longer = {**row, axis: value}
        if not is_excluded(longer):
            whole = _filled(longer, axes, strength, missing, is_excluded, generator)
            if whole is not None:
                return whole
    return None


def _gain(
    row: Row,
    axis: str,
    axes: Mapping[str, Sequence[str]],
    strength: int,
    missing: Mapping[Combination, None],
) -> int:
    """How many missing combinations a part of a row holds that ``axis`` is in."""
    others = [name for name in axes if name in row and name != axis]
    gain = 0
    for names in itertools.combinations(others, strength - 1):
        chosen = {*names, axis}
        one = tuple((name, row[name]) for name in axes if name in chosen)
        gain += one in missing
    return gain


def _held(
    row: Row,
    axes: Mapping[str, Sequence[str]],
    strength: int,
    missing: Mapping[Combination, None],
) -> list[Combination]:
    found = (
        tuple((name, row[name]) for name in names)
        for names in itertools.combinations(axes, strength)
    )
    return [one for one in found if one in missing]
