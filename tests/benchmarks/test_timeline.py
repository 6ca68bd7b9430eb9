"""A step's time, read from a Horovod timeline."""

import json

import pytest

from benchmarks import timeline


def recorded(steps: int) -> str:
    """Return a timeline of steps of 10 ms: 2 ms exchange after 3 ms waiting.

    A second, smaller tensor is exchanged at the same time and must not count twice.
    Rank 1 is ready 1 ms before rank 0, which is no waiting of rank 0.
    """
    events: list[dict[str, object]] = []
    for step in range(steps):
        for tensor in (1, 2):
            at = {"pid": tensor}
            t = 10_000 * step
            events += [
                {"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": t + 4000, **at},
                {"ph": "X", "name": "1", "ts": t + 4000, "dur": 0, **at},
                {"ph": "X", "name": "0", "ts": t + 5000, "dur": 0, **at},
                {"ph": "E", "ts": t + 8000, **at},
                {"ph": "B", "name": "ALLREDUCE", "ts": t + 8000, **at},
                {"ph": "B", "name": "MPI_ALLREDUCE", "ts": t + 8500, **at},
                {"ph": "E", "ts": t + 9000, **at},
                {"ph": "E", "ts": t + 10_000, "args": {"shape": "[3]"}, **at},
            ]
    names = {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "grad"}}
    # Without the closing bracket, as Horovod leaves a file it is still writing.
    return "[\n" + ",\n".join(json.dumps(event) for event in [names, *events]) + ","


def test_a_step_is_split_into_parts_that_add_up():
    found = timeline.step_time(recorded(steps=8))
    assert found == pytest.approx((10.0, 2.0, 3.0, 5.0, 5))


def test_a_timeline_without_steps_is_refused():
    with pytest.raises(ValueError, match="at least 4 steps"):
        timeline.step_time(recorded(steps=3))
