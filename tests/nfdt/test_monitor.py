"""What a worker's monitor reads, when, and how it travels."""

import builtins
import itertools

import psutil
import pytest

from nfdt.glue.monitor import ResourceMonitor
from nfdt.protocol import serialization
from nfdt.protocol.events import Readings, unpacked


def monitor(*times_s):
    return ResourceMonitor(now=iter(times_s).__next__)


def test_readings_come_at_most_once_a_second():
    made = monitor(*itertools.islice(itertools.count(0.0, 0.25), 12))
    found = [bool(made.step(0.1)) for _ in range(12)]
    assert found == [False, *[False, False, False, True] * 2, *[False] * 3]


def test_speed_is_that_of_the_last_steps_but_for_one_that_stood_still():
    made = monitor(*range(30))
    made.step(9.0)  # it was traced
    assert unpacked(made.step(0.1)).steps_per_s == pytest.approx(10)
    speeds = [
        unpacked(made.step(step_s)).steps_per_s
        for step_s in [0.1, 7.0, 0.1, *[0.2] * 9]
    ]
    assert speeds[1:4] == pytest.approx([10, 10, 10])
    assert speeds[-1] == pytest.approx(5)


def test_what_the_machine_does_is_what_psutil_says():
    made = monitor(0.0, 1.0)
    made.step(1.0)
    found = unpacked(made.step(1.0))
    assert 0 <= found.cpu_percent <= 100
    assert 0 < found.memory_percent < 100
    assert found.network_bytes_per_s >= 0
    assert found.disk_bytes_per_s >= 0


def test_a_machine_without_a_disk_or_a_network(monkeypatch):
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    made = monitor(0.0, 1.0)
    made.step(1.0)
    found = unpacked(made.step(1.0))
    assert (found.network_bytes_per_s, found.disk_bytes_per_s) == (0, 0)


def test_without_psutil_it_is_said_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *args):
        if name == "psutil":
            raise ImportError("No module named 'psutil'")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r"psutil\. Received.*pip install.*dsp:fixed"):
        ResourceMonitor()


def test_readings_travel():
    readings = Readings(2.5, 10.0, 20.0, 30.0, 40.0)
    assert unpacked(memoryview(readings.packed())) == readings


def test_what_are_no_readings():
    with pytest.raises(ValueError, match=r"readings must be steps_per_s, .*speed"):
        unpacked(serialization.pack({"speed": 1.0}))
