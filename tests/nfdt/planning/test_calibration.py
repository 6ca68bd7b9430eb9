"""What is made of a measured run: its steady part, and the cluster it ran on."""

import math

import numpy as np
import pytest

from nfdt.clusters.step_times import Measured
from nfdt.planning import calibration
from nfdt.planning.calibration import Costs
from nfdt.protocol.events import Event, Use
from nfdt.simulation.network import transfer_s


def push(time_s, worker, **fields):
    known = dict.fromkeys(Event._fields, 0)
    return Event(**{**known, "time_s": time_s, "worker": worker, **fields})


def pushes(worker, start_s, period_s, count, **fields):
    return [push(start_s + i * period_s, worker, **fields) for i in range(count)]


def test_the_steady_part_begins_when_all_have_warmed_up_and_ends_with_the_first():
    events = pushes(0, 0, 1, 100) + pushes(1, 20, 2, 21)
    found = calibration.steady(events, 2)
    # Worker 1's fifth push is at 28 s, its last at 60 s.
    assert (found[0].time_s, found[-1].time_s) == (29, 60)
    assert calibration.fewest_steps(found, 2) == 16
    assert found == sorted(found)


def test_nothing_is_steady_until_all_train():
    events = pushes(0, 0, 1, 100)
    assert calibration.steady(events, 2) == []
    assert calibration.steady(events + pushes(1, 0, 1, 5), 2) == []
    assert calibration.steady(events + pushes(1, 0, 1, 6), 2) != []
    assert calibration.fewest_steps([], 2) == 0


def test_only_pushes_that_were_used_count():
    events = pushes(0, 0, 1, 20) + pushes(0, 0.5, 1, 20, use=Use.DROPPED)
    assert {event.use for event in calibration.steady(events, 1)} == {Use.UPDATE}


COSTS = Costs(
    params_bytes=4_000_000,
    push_bytes=2_000_000,
    returned_bytes=1_000_000,
    exchange_s=0.0012,
    update_s=0.0002,
    model_update_s=0.0022,
)


def measured(compute_s=0.05, exchanges_s=(0.0062,) * 10, epochs=(0,) * 10):
    rows = zip(exchanges_s, epochs, strict=True)
    return [
        push(i, 0, compute_s=compute_s, exchange_s=e, epoch=epoch)
        for i, (e, epoch) in enumerate(rows)
    ]


def test_latency_bandwidth_and_update_come_from_two_sizes():
    found = calibration.calibrated(measured(), COSTS, 3, "here")
    (group,) = found.groups
    assert (group.count, found.name) == (3, "here")
    assert group.step == Measured((0.05,) * 10)
    assert group.link.latency_s == pytest.approx(0.0005)  # (1.2 - 0.2) / 2 ms
    assert group.link.bytes_per_s == pytest.approx(1e9)  # 3 MB in 6.2 - 2.2 - 1 ms
    assert group.link.jitter_s == 0
    assert found.servers.overhead_s == pytest.approx(0.0002)
    assert found.servers.bytes_per_s == pytest.approx(2e9)  # 4 MB in 2 ms


@pytest.mark.parametrize("seed", range(5))
def test_a_simulated_exchange_takes_as_long_as_the_measured_ones(seed):
    random = np.random.default_rng(seed)
    costs = COSTS._replace(exchange_s=float(random.uniform(0, 0.02)))
    times_s = [float(t) for t in 0.005 + random.exponential(0.004, 500)]
    found = calibration.calibrated(
        measured(exchanges_s=times_s, epochs=[0] * 500), costs, 1, ""
    )
    link, servers = found.groups[0].link, found.servers
    ways_s = np.mean(
        [
            transfer_s(link, costs.push_bytes, random)
            + transfer_s(link, costs.returned_bytes, random)
            for _ in range(4000)
        ]
    )
    update_s = servers.overhead_s + costs.params_bytes / servers.bytes_per_s
    assert ways_s + update_s == pytest.approx(np.mean(times_s), rel=0.05)


def test_what_takes_no_time_has_no_bounds():
    costs = Costs(4, 4, 4, exchange_s=0.01, update_s=0.001, model_update_s=0.001)
    found = calibration.calibrated(measured(), costs, 1, "")
    assert found.groups[0].link.bytes_per_s == math.inf
    assert found.servers.bytes_per_s == math.inf


def test_the_first_steps_of_epochs_do_not_count():
    events = measured(epochs=(0, 0, 0, 1, 1, 1, 1, 2, 2, 2))
    odd = [
        e._replace(compute_s=9.0) if i in (3, 7) else e for i, e in enumerate(events)
    ]
    found = calibration.calibrated(odd, COSTS, 1, "")
    assert found.groups[0].step == Measured((0.05,) * 8)


def test_representatives_keep_mean_and_extremes():
    times_s = np.random.default_rng(0).gamma(4, 0.01, 640)
    found = calibration.representatives(times_s)
    assert len(found) == 32
    assert np.mean(found) == pytest.approx(np.mean(times_s), rel=1e-3)
    assert np.std(found) == pytest.approx(np.std(times_s), rel=0.05)
    assert calibration.representatives([0.01234567]) == (0.0123,)


def test_the_facts_name_what_was_measured():
    lines = calibration.facts(measured(), COSTS, 2)
    assert lines[0] == "10 steps of 2 workers at once: mean 50ms."
    assert lines[1] == "Exchanges, 3 MB there and back: mean 6.2ms,"
    assert lines[2] == "of which the server's update takes 2.2ms."
    assert "of 1 worker:" in calibration.facts(measured(), COSTS, 1)[0]
