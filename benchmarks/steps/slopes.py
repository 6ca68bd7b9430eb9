"""From the times of fits to the time of a step."""

import json
import re
import statistics
from collections.abc import Sequence
from typing import NamedTuple

# mpirun may put the rank before it, so it is searched, not matched.
JSON_LINE = re.compile(r'\{"fits": .*?\}')


class TimedFit(NamedTuple):
    """One call of ``fit``."""

    batches: int  # of one epoch, for each rank
    epochs: int
    seconds: float
    page_faults: int


class Step(NamedTuple):
    """What one run of one contender gave, a mean over its copies."""

    step_ms: float
    page_faults: float  # of a step, in one process
    fit_ms: float  # what a fit takes besides its epochs
    epoch_end_ms: float | None  # besides its steps; None where sizes do not tell
    updates: int = 0  # of the parameters, in all fits
    code: str = ""  # the folder of the framework that trained; empty for plain Keras


def read(output: str) -> list[Step]:
    """Return the steps that the output of a contender states, a line for each copy.

    Args:
        output: Standard output of all its processes.

    Raises:
        ValueError: There is none, or it has too few fits.
    """
    lines = [json.loads(text) for text in JSON_LINE.findall(output)]
    if not lines:
        raise ValueError("no times of fits were printed")
    return [
        step([TimedFit(*fit) for fit in line["fits"]])._replace(
            updates=line["updates"], code=line["code"]
        )
        for line in lines
    ]


def step(fits: Sequence[TimedFit]) -> Step:
    """Return what a step costs: the slope over epochs, of the largest size of epoch.

    The first fit of each size traces and touches memory, and has no say. An epoch's
    end stays in its steps unless there are two sizes of epoch, which tell it apart.

    Args:
        fits: In the order in which they ran.

    Raises:
        ValueError: A size has fits of fewer than two numbers of epochs.
    """
    sizes = sorted({fit.batches for fit in fits})
    counted = {size: [f for f in fits if f.batches == size][1:] for size in sizes}
    most = sizes[-1]
    epochs_s = {size: slope(_seconds(counted[size])) for size in sizes}
    faults = slope([(fit.epochs, fit.page_faults) for fit in counted[most]]) / most
    shortest = min(fit.epochs for fit in counted[most])
    times_s = [fit.seconds for fit in counted[most] if fit.epochs == shortest]
    fit_s = statistics.median(times_s) - shortest * epochs_s[most]
    step_s, end_s = epochs_s[most] / most, None
    if len(sizes) > 1:
        least = sizes[0]
        step_s = (epochs_s[most] - epochs_s[least]) / (most - least)
        end_s = epochs_s[least] - least * step_s
    end_ms = None if end_s is None else 1e3 * end_s
    return Step(1e3 * step_s, faults, 1e3 * fit_s, end_ms)


def mean(steps: Sequence[Step]) -> Step:
    """Return the mean over the copies of one run."""
    ends_ms = [one.epoch_end_ms for one in steps if one.epoch_end_ms is not None]
    return Step(
        statistics.fmean(one.step_ms for one in steps),
        statistics.fmean(one.page_faults for one in steps),
        statistics.fmean(one.fit_ms for one in steps),
        statistics.fmean(ends_ms) if ends_ms else None,
        *steps[0][-2:],
    )


def slope(points: Sequence[tuple[int, float]]) -> float:
    """Return what one epoch more adds, by the medians of the ends.

    >>> slope([(2, 10.0), (6, 30.0), (2, 90.0), (2, 12.0)])
    4.5

    Args:
        points: Pairs of a number of epochs and what was measured of them.

    Raises:
        ValueError: All have the same number of epochs.
    """
    epochs = [count for count, _ in points]
    if len(set(epochs)) < 2:
        raise ValueError(
            "A slope needs fits of two numbers of epochs. "
            f"Received: {sorted(set(epochs))}."
        )
    ends = min(epochs), max(epochs)
    low, high = (
        statistics.median(value for count, value in points if count == end)
        for end in ends
    )
    return (high - low) / (ends[1] - ends[0])


def _seconds(fits: Sequence[TimedFit]) -> list[tuple[int, float]]:
    return [(fit.epochs, fit.seconds) for fit in fits]
