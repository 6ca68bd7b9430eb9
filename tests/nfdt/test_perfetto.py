"""The trace events: what the format asks for, and what a viewer needs."""

import itertools
import json
import math

import pytest

from fdtcore.telemetry import perfetto as perfetto_file
from nfdt.telemetry import perfetto, timeline
from nfdt.telemetry.trace import Trace
from tests.nfdt.synthetic_run import bulk_synchronous, event, run

REQUIRED = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "C": {"name", "pid", "ts", "args"},
    "i": {"name", "pid", "tid", "ts", "s"},
    "M": {"name", "pid", "tid", "args"},
}


def written(tmp_path, events, happenings=(), **facts):
    trace = Trace(facts, events, list(happenings))
    found = perfetto.events(trace, timeline.build(events))
    perfetto_file.write(tmp_path / "file.json", facts, found)

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = (tmp_path / "file.json").read_text()
    return json.loads(text, parse_constant=refuse)


def slices(found, worker, name):
    events = found["traceEvents"]
    mine = [one for one in events if one["ph"] == "X" and one["tid"] == worker]
    return [(one["ts"], one["dur"]) for one in mine if one["name"] == name]


def test_every_event_has_what_its_phase_needs(tmp_path):
    lost = {"kind": "lost", "time_s": 5003.0, "worker": 1}
    stop = {"kind": "stop", "time_s": 0.0, "epoch": 1}
    found = written(tmp_path, run([0.1, 0.2], 100), [lost, stop], algorithm="asgd")
    assert set(found) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert found["otherData"] == {"algorithm": "asgd"}
    for one in found["traceEvents"]:
        assert REQUIRED[one["ph"]] <= one.keys()
        assert one["ts"] >= 0 and one.get("dur", 0) >= 0
        assert isinstance(one["pid"], int) and isinstance(one.get("tid", 0), int)
    assert {one["ph"] for one in found["traceEvents"]} == set(REQUIRED)


def test_a_track_for_each_worker_with_all_its_pushes(tmp_path):
    events = run([0.1, 0.2, 0.3], 200)
    found = written(tmp_path, events)
    names = [
        (one["tid"], one["args"]["name"])
        for one in found["traceEvents"]
        if one["name"] == "thread_name"
    ]
    assert names == [(worker, f"worker {worker}") for worker in range(3)]
    for worker in range(3):
        count = sum(one.worker == worker for one in events)
        assert len(slices(found, worker, "compute")) == count
        assert len(slices(found, worker, "exchange")) == count


def test_slices_of_a_track_do_not_overlap(tmp_path):
    found = written(tmp_path, run([0.1, 0.15], 300))
    for worker in range(2):
        both = slices(found, worker, "compute") + slices(found, worker, "exchange")
        both.sort()
        for (start, length), (following, _) in itertools.pairwise(both):
            assert start + length <= following + 0.002  # rounding to nanoseconds


def test_being_held_stands_inside_the_exchange(tmp_path):
    found = written(tmp_path, bulk_synchronous([0.1, 0.3], 4))
    held, exchanges = (slices(found, 0, n) for n in ("held by the server", "exchange"))
    assert len(held) == 4
    for (start, length), (outer, outer_length) in zip(held, exchanges, strict=True):
        assert start == outer and length <= outer_length + 0.002
    assert slices(found, 1, "held by the server") == []


def test_counters_follow_version_and_staleness(tmp_path):
    events = run([0.1, 0.2], 50)
    found = written(tmp_path, events)["traceEvents"]
    ends = [
        one["ts"] for one in found if one["ph"] == "X" and one["name"] == "exchange"
    ]
    for name in ("version", "staleness"):
        mine = [one for one in found if one["name"] == name]
        assert [one["args"][name] for one in mine] == [getattr(e, name) for e in events]
        assert [one["ts"] for one in mine] == sorted(ends)  # each begins at its update


def test_what_is_not_known_is_null(tmp_path):
    found = written(tmp_path, [event(loss=math.nan, compute_s=1.0)])
    (compute,) = (one for one in found["traceEvents"] if one["name"] == "compute")
    assert compute["args"]["loss"] is None


@pytest.mark.parametrize(("worker", "scope"), [({"worker": 1}, "t"), ({}, "p")])
def test_happenings_are_marks_at_their_time(tmp_path, worker, scope):
    happening = {"kind": "lost", "time_s": 5000.5, **worker}
    found = written(tmp_path, [event(worker=1)], [happening])
    (mark,) = (one for one in found["traceEvents"] if one["ph"] == "i")
    assert (mark["ts"], mark["s"], mark["tid"]) == (5e5, scope, worker.get("worker", 0))
