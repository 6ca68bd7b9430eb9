"""DSP and local steps: when a barrier comes, what it does, how its thresholds move."""

import numpy as np
import pytest

from nfdt.protocol.controllers import (
    Decision,
    DynamicSynchronous,
    Ledger,
    LocalSteps,
)
from nfdt.protocol.controllers.dynamic import performance_factor, set_anew
from nfdt.protocol.events import BARRIER, READINGS, Readings
from tests.nfdt.rules import CONTROLLERS, server
from tests.nfdt.test_controllers import SEEDS, TROUBLES, run
from tests.nfdt.virtual_time import Workers

DSP = [name for name in CONTROLLERS if "dsp" in name]


def barriers(workers):
    found = workers.server.records.happenings
    return [(h.time_s, h.about) for h in found if h.about["kind"] == BARRIER]


def in_force(workers, time_s, controller):
    """Returns s and w at a time."""
    before = [about for at_s, about in barriers(workers) if at_s < time_s]
    if not before:
        return controller.stale, controller.weak
    return before[-1]["stale"], before[-1]["weak"]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", DSP)
def test_nobody_goes_on_with_a_lead_of_s(name, seed, trouble):
    workers, _ = run(name, seed, trouble=trouble)
    leads = []
    for step in workers.steps:
        if step.what == "step" and not step.submits:
            stale, _ = in_force(workers, step.time_s, CONTROLLERS[name])
            assert step.lead < stale
            leads.append(step.lead)
    assert max(leads) > 0 or trouble != "none"


@pytest.mark.parametrize("seed", SEEDS)
def test_when_a_barrier_is_on_everybody_submits_after_its_step(seed):
    workers, _ = run("dsp", seed)
    on = False
    for step in workers.steps:
        if step.what == "step":
            assert step.submits or not on
            on = step.submits
        elif step.what == "push":
            on = step.version is None


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_goes_on_beyond_its_local_steps(seed, trouble):
    workers, _ = run("local", seed, trouble=trouble)
    since = dict.fromkeys(workers.clocks, 0)
    for step in workers.steps:
        since[step.worker] += step.what == "step"
        if step.what == "push":
            assert since[step.worker] <= 3
            since[step.worker] = 0
        elif step.what == "step":
            assert step.submits == (since[step.worker] == 3)


def scene(controller, step_s, pushes=6, **more):
    made = server("asgd", np.zeros(1), len(step_s), controller)
    workers = Workers(made, lambda worker: step_s[worker], pushes, **more)
    workers.run()
    return workers


def test_the_weak_threshold_calls_workers_of_one_speed():
    """SSP would let them run: the lead of any over any other stays below 2."""
    workers = scene(DynamicSynchronous(3, 2, fixed=True), (1.0, 1.1))
    assert [about["cause"] for _, about in barriers(workers)] == ["weak"] * 3


def test_the_stale_threshold_calls_workers_of_unlike_speed():
    workers = scene(DynamicSynchronous(3, 5, fixed=True), (1.0, 9.0), pushes=3)
    assert barriers(workers)[0][1]["cause"] == "stale"
    # At t=3 the first leads by 3; the other ends its step, and both start anew.
    assert barriers(workers)[0][0] == 9.0


def test_who_ends_early_is_not_waited_for_and_waits_for_one_step_only():
    workers = scene(DynamicSynchronous(9, 9, fixed=True, stale_max=9), (1.0, 4.0), 2)
    time_s, about = barriers(workers)[0]
    assert (time_s, about["cause"]) == (4.0, "early")


def test_thresholds_follow_the_speeds_at_every_barrier():
    speeds = {0: 1.0, 1: 0.25}
    workers = scene(
        DynamicSynchronous(2, 1),
        (1.0, 4.0),
        payload=lambda worker: Readings(speeds[worker]).packed(),
    )
    _, first = barriers(workers)[0]
    assert (first["factor"], first["stale"], first["weak"]) == (4.0, 4, 1)
    found = [h.about for h in workers.server.records.happenings]
    assert found[0] == {"kind": READINGS, "worker": 0, **Readings(1.0)._asdict()}


def test_what_is_fixed_stays():
    workers = scene(
        DynamicSynchronous(2, 1, fixed=True),
        (1.0, 4.0),
        payload=lambda worker: Readings(1.0 + 3 * worker).packed(),
    )
    assert {(a["stale"], a["weak"]) for _, a in barriers(workers)} == {(2, 1)}


@pytest.mark.parametrize(
    ("factor", "weak", "bounds", "expected"),
    [
        (1.0, 1, (1, 10), (1, 1)),
        (1.0, 4, (1, 10), (1, 4)),
        (2.0, 1, (1, 10), (2, 1)),
        (4.0, 1, (1, 10), (4, 1)),
        (4.0, 3, (1, 10), (10, 3)),
        (4.0, 5, (1, 10), (10, 3)),  # five slow steps would let a lead of 15 arise
        (100.0, 5, (1, 10), (10, 1)),
        (1.0, 1, (3, 10), (3, 1)),
        (float("inf"), 2, (1, 10), (10, 1)),
    ],
)
def test_thresholds_by_hand(factor, weak, bounds, expected):
    assert set_anew(factor, weak=weak, stale_bounds=bounds) == expected


@pytest.mark.parametrize("weak", [1, 2, 5])
def test_the_further_apart_the_speeds_the_larger_s(weak):
    factors = np.linspace(1, 30, 200)
    found = [set_anew(f, weak=weak, stale_bounds=(2, 12)) for f in factors]
    stale, weaks = np.transpose(found)
    assert (stale[0], stale[-1]) == (2, 12)
    assert np.all((stale >= 2) & (stale <= 12) & (weaks >= 1) & (weaks <= weak))
    assert np.all(np.diff(stale) >= 0)
    assert np.all(np.diff(weaks) <= 0)


@pytest.mark.parametrize(
    ("speeds", "factor"),
    [([], 1), ([3.0], 1), ([2.0, 8.0, 4.0], 4), ([2.0, 0.0, float("nan")], 1)],
)
def test_the_factor_is_the_fastest_over_the_slowest(speeds, factor):
    assert performance_factor(speeds) == factor


def test_decisions_by_hand():
    dsp = DynamicSynchronous(2, 3)
    start = dsp.init(2)
    ledger = Ledger({0: 0, 1: 0}, (), (), asking=(0,), steps={0: 1})
    decision, state = dsp.decide(ledger, start, now_s=0.0)
    assert (decision, state) == (Decision((), ()), start)
    ledger = ledger._replace(steps={0: 2})
    decision, state = dsp.decide(ledger, start, now_s=0.0)
    assert (decision.submit, state.cause) == ((0,), "stale")
    local = LocalSteps(2)
    assert local.decide(ledger, None, now_s=0.0)[0].submit == (0,)


@pytest.mark.parametrize(
    "thresholds",
    [
        {"stale": 0},
        {"weak": 0},
        {"stale_min": 4},
        {"stale_max": 2},
        {"stale": 1.5},
        {"stale_max": None},
    ],
)
def test_thresholds_are_steps_and_within_their_bounds(thresholds):
    with pytest.raises(ValueError, match=r"must .*Received: .*\. (Use|Move) "):
        DynamicSynchronous(**thresholds)


@pytest.mark.parametrize("steps", [0, 2.5, True])
def test_local_steps_are_steps(steps):
    with pytest.raises(ValueError, match=r"steps must be an integer >= 1\. Received"):
        LocalSteps(steps)
