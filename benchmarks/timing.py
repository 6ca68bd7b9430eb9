"""The time of a call."""

import statistics
import time
from collections.abc import Callable


def median_s(call: Callable[[], object], steps: int) -> float:
    """Return the median time of a number of calls."""
    times_s = []
    for _ in range(steps):
        start_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - start_s)
    return statistics.median(times_s)
