"""Forecasts beside real runs: how they are compared, judged and shown."""

import dataclasses
import json

import pytest

from benchmarks import truth, truth_report
from benchmarks.running import ContenderError
from benchmarks.truth import CASES, Case, Checked, Speed
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import WorkerGroup
from nfdt.clusters.step_times import Gamma
from nfdt.protocol.events import Event

EVEN = Case(2, 1)
UNEVEN = Case(2, 4)


def pushes(workers, count, period_s, staleness):
    known = {**dict.fromkeys(Event._fields, 0), "staleness": staleness}
    return [
        Event(**{**known, "time_s": step * period_s, "worker": worker})
        for step in range(count)
        for worker in range(workers)
    ]


def test_every_number_of_workers_is_run_fast_and_with_a_slow_one():
    assert {(c.workers, c.slowdown) for c in CASES} == {
        (n, slowdown) for n in (1, 2, 3) for slowdown in (1, 4)
    }


def test_a_run_has_a_speed_and_a_staleness():
    found = truth.speed(pushes(2, 100, 0.1, 3), 2)
    assert found.updates_per_s == pytest.approx(20, rel=0.02)
    assert found.staleness == 3


def test_a_run_without_a_steady_part_has_no_speed():
    with pytest.raises(ContenderError, match="too short to have a speed"):
        truth.speed(pushes(2, 3, 0.1, 0), 2)


def test_a_slow_worker_is_forecast_from_a_calibration_of_fast_ones():
    cluster = Cluster((WorkerGroup(2, Gamma(0.1)),))
    fast = truth.speed(truth.foretell(EVEN, cluster, 1000), 2)
    slow = truth.speed(truth.foretell(UNEVEN, cluster, 1000), 2)
    assert fast.updates_per_s == pytest.approx(20, rel=0.05)
    assert slow.updates_per_s == pytest.approx(12.5, rel=0.05)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([1.0], "reached"),
        ([1.149], "reached"),
        ([1.151], "missed"),
        ([0.871], "reached"),
        ([0.86], "missed"),
        ([0.5, 1.0, 1.1], "reached"),  # the median counts
    ],
)
def test_within_fifteen_percent(ratios, verdict):
    assert truth.verdict(ratios) == verdict


def checked(case, real, forecast):
    return Checked(case, Speed(*real), Speed(*forecast))


def test_no_staleness_at_all_is_as_forecast():
    assert checked(EVEN, (10, 0.0), (10, 0.01)).ratios == (1.0, 1.0)
    assert checked(EVEN, (12, 2.0), (10, 1.0)).ratios == (1.2, 2.0)
    assert checked(EVEN, (10, 1.0), (10, 0.0)).ratios[1] > 1.15


FOUND = [
    checked(EVEN, (38.0, 1.0), (40.0, 1.0)),
    checked(UNEVEN, (20.0, 1.2), (25.0, 1.0)),
    checked(EVEN, (42.0, 1.0), (40.0, 1.0)),
]


def test_the_table_shows_both_quantities_of_each_case():
    lines = truth_report.truth_table(FOUND).splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == [
        "2 workers: updates/s",
        "40.00",
        "40.00",
        "1.00",
        "0.95 .. 1.05",
        "reached",
    ]
    assert [row[0] for row in cells[1:]] == [
        "2 workers: staleness",
        "2 workers, one 4x slow: updates/s",
        "2 workers, one 4x slow: staleness",
    ]
    assert [row[-1] for row in cells] == ["reached", "reached", "missed", "missed"]


def test_what_is_missed_is_named():
    assert truth_report.missed(FOUND) == [
        "updates/s, 2 workers, one 4x slow",
        "staleness, 2 workers, one 4x slow",
    ]
    assert truth_report.missed(FOUND[:1]) == []


def test_files(tmp_path):
    truth_report.write_json(tmp_path / "truth.json", {"cores": 2}, FOUND)
    found = json.loads((tmp_path / "truth.json").read_text())
    assert (found["cores"], found["within"]) == (2, 0.15)
    assert found["truth"][1]["real"] == {"updates_per_s": 20.0, "staleness": 1.2}
    assert found["truth"][1]["slowdown"] == 4
    pytest.importorskip("matplotlib")
    truth_report.draw(tmp_path / "truth.png", FOUND, "2 cores")
    assert (tmp_path / "truth.png").read_bytes().startswith(b"\x89PNG")


def test_a_check_calibrates_once_for_each_number_of_workers(monkeypatch):
    calls = []
    cluster = Cluster((WorkerGroup(1, Gamma(0.1)),))

    def calibrated(workers):
        calls.append(workers)
        groups = (dataclasses.replace(cluster.groups[0], count=workers),)
        return dataclasses.replace(cluster, groups=groups), 1000

    def run(case, steps):
        calls.append((case.workers, case.slowdown, steps))
        return pushes(case.workers, steps, 0.1, case.workers - 1)

    monkeypatch.setattr(truth, "_calibrated", calibrated)
    monkeypatch.setattr(truth, "_run", run)
    found = truth.check(1, quick=True)
    assert calls == [
        *(1, (1, 1, 60), (1, 4, 60)),
        *(2, (2, 1, 60), (2, 4, 60)),
        *(3, (3, 1, 60), (3, 4, 60)),
    ]
    assert [one.case for one in found] == list(CASES)
    assert found[0].ratios == (pytest.approx(1, rel=0.05), 1.0)
