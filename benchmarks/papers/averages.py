"""Means over seeds, of cases in which every seed has all its runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.papers.records import Results
from benchmarks.papers.runs import Outcome, Run

Case = Callable[[Run], Hashable]


def balanced(planned: Iterable[Run], found: Results, case: Case) -> Results:
    """Returns the results of the seeds that are complete within their case.

    So everything that is compared in a case rests on the same seeds, also after an
    interruption.

    Args:
        planned: All runs.
        found: Those that have been run, perhaps with others.
        case: From a run to what it is compared within.
    """
    planned = list(planned)
    missing = {(case(run), run.seed) for run in planned if run not in found}
    return {r: found[r] for r in planned if (case(r), r.seed) not in missing}


def each(results: Results, field: str) -> list[Any]:
    """Returns the values of a setting, in the order of the runs."""
    return list(dict.fromkeys(getattr(run, field) for run in results))


def chosen(results: Results, **settings: Any) -> Results:
    """Returns the results of the runs with these settings."""
    return {
        run: outcome
        for run, outcome in results.items()
        if all(getattr(run, name) == value for name, value in settings.items())
    }


def accuracy(outcome: Outcome) -> float:
    """Returns the accuracy at the end."""
    return outcome.accuracy


def mean(
    results: Results, of: Callable[[Outcome], float] = accuracy, **settings: Any
) -> float:
    """Returns a mean over the runs with these settings; NaN where there is none."""
    values = [of(outcome) for outcome in chosen(results, **settings).values()]
    return float(np.mean(values)) if values else float("nan")


def percent(results: Results, **settings: Any) -> str:
    """Returns the mean accuracy in %, with its standard deviation over the seeds."""
    values = [accuracy(outcome) for outcome in chosen(results, **settings).values()]
    text = f"{100 * np.mean(values):.1f}"
    return text if len(values) < 2 else f"{text} +- {100 * np.std(values, ddof=1):.1f}"


def best_rate(results: Results, **settings: Any) -> float:
    """Returns the learning rate with the highest mean accuracy."""
    rates: Sequence[float] = each(chosen(results, **settings), "rate")
    return max(rates, key=lambda rate: mean(results, rate=rate, **settings))
