"""Who waits: safety, liveness and determinism over random schedules; transcripts."""

import itertools
from types import MappingProxyType

import numpy as np
import pytest

from nfdt.protocol.controllers import (
    Asynchronous,
    BulkSynchronous,
    Decision,
    Ledger,
    StaleSynchronous,
)
from nfdt.protocol.events import Readings, Use
from tests.nfdt.golden import FOLDER, SCENES
from tests.nfdt.rules import CONTROLLERS, ROWS, server
from tests.nfdt.virtual_time import Workers

PUSHES = 12
SEEDS = range(8)
NONE = MappingProxyType({})


def run(name, seed, num_workers=4, trouble="none"):
    """Returns a finished run of workers with irregular steps.

    Args:
        name: The controller.
        seed: Of the schedule.
        num_workers: M.
        trouble: ``"absences"``: workers are away at times, and two of them die;
            ``"joins"``: two come later, when the others may even have gone.
    """
    generator = np.random.default_rng(seed)
    pace = generator.gamma(2.0, size=num_workers) + 0.1
    away, lost, joins = {}, {}, {}
    if trouble == "absences":
        away = {
            (w, c): float(generator.exponential(5.0))
            for w, c in itertools.product(range(num_workers), range(PUSHES))
            if generator.random() < 0.15
        }
        lost = {w: int(generator.integers(PUSHES)) for w in (1, 3)}
    if trouble == "joins":
        joins = {w: float(generator.exponential(40.0)) for w in (0, 2)}
    workers = Workers(
        server("asgd", np.zeros(2), num_workers, CONTROLLERS[name]),
        lambda worker: float(generator.gamma(3.0) * pace[worker]),
        PUSHES,
        away=away,
        lost=lost,
        joins=joins,
        payload=lambda worker: Readings(1 / pace[worker]).packed(),
    )
    workers.run()
    return workers, lost


TROUBLES = ["none", "absences", "joins"]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CONTROLLERS)
def test_nobody_waits_for_ever_and_every_step_is_told_of(name, seed, trouble):
    workers, lost = run(name, seed, trouble=trouble)
    for worker, clock in workers.clocks.items():
        assert clock == lost.get(worker, PUSHES)
    assert not workers.server.clocks
    told = [
        ("step" if event.use == Use.OWN else "push", event.worker, event.clock)
        for event in workers.server.records.events
    ]
    made = [s for s in workers.steps if s.what in ("push", "step")]
    assert sorted(told) == sorted((s.what, s.worker, s.clock) for s in made)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", [n for n in CONTROLLERS if "dsp" in n])
def test_dsp_adds_up_all_that_was_submitted(name, trouble):
    for seed in SEEDS:
        workers, _ = run(name, seed, trouble=trouble)
        pushes = sum(step.what == "push" for step in workers.steps)
        # Each push is of ones, and the rate 0.1.
        np.testing.assert_allclose(workers.server.params, -0.1 * pushes)


@pytest.mark.parametrize("row", [r for r in ROWS if "easgd" not in r])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_rule_goes_with_every_controller(name, row):
    """On w * w / 2 all come nearer to the optimum, whoever waits."""
    step_s = (1.0, 1.3, 2.7)
    made = server(row, np.ones(3), 3, CONTROLLERS[name], rate=0.02)
    workers = Workers(made, lambda worker: step_s[worker], 30, gradient=_slope)
    workers.run()
    assert not made.clocks
    assert np.all(np.abs(made.params) < 0.9)


@pytest.mark.parametrize("name", [n for n in CONTROLLERS if "dsp" not in n])
def test_all_others_make_an_update_of_the_mean(name):
    workers, _ = run(name, 0)
    np.testing.assert_allclose(workers.server.params, -0.1 * workers.server.version)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("max_lead", [0, 1, 3])
def test_ssp_never_releases_beyond_its_bound(max_lead, seed, trouble):
    """The bound is of the lead at release: one less than what is seen at a push."""
    workers, _ = run(f"ssp{max_lead}", seed, trouble=trouble)
    leads = [lead for step in workers.steps for lead in step.leads]
    assert max(leads) <= max_lead
    if trouble != "joins":  # too few may be there at once
        assert max(leads) == max_lead  # the bound is reached, else it is not tried
    assert max(step.lead for step in workers.steps) <= max_lead + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_bsp_makes_rounds_of_everybody(seed):
    workers, _ = run("bsp", seed)
    rounds = [step for step in workers.steps if step.version is not None]
    assert [step.version for step in rounds] == list(range(1, PUSHES + 1))
    assert all(sorted(step.released) == [0, 1, 2, 3] for step in rounds)
    assert all(event.staleness == 0 for event in workers.server.records.events)


@pytest.mark.parametrize("seed", SEEDS)
def test_asp_holds_nobody(seed):
    workers, _ = run("asp", seed)
    pushes = [step for step in workers.steps if step.what == "push"]
    assert all(step.released == (step.worker,) for step in pushes)
    assert [step.version for step in pushes] == list(range(1, 4 * PUSHES + 1))
    assert all(event.wait_s == 0 for event in workers.server.records.events)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_same_pushes_make_the_same_decisions(name):
    one, _ = run(name, 0, trouble="absences")
    other, _ = run(name, 0, trouble="absences")
    assert one.steps == other.steps
    assert one.server.records.events == other.server.records.events
    assert one.server.params.tobytes() == other.server.params.tobytes()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_decision_follows_from_the_ledger_alone(name):
    ledger = Ledger(
        MappingProxyType({0: 3, 1: 2, 2: 4}), (1, 0), (1, 0), frozenset({0}), (2,)
    )
    controller = CONTROLLERS[name]
    state = controller.init(3)
    first = controller.decide(ledger, state, now_s=0.0)
    assert controller.decide(ledger, state, now_s=1e9) == first


@pytest.mark.parametrize("name", CONTROLLERS)
def test_an_empty_ledger_is_no_error(name):
    controller = CONTROLLERS[name]
    decision, _ = controller.decide(Ledger(NONE, (), ()), controller.init(1), now_s=0.0)
    assert decision == Decision((), ())


def test_ssp_without_a_lead_is_not_bsp():
    """Both keep step, but two gradients are two updates, and one of them is late."""
    found = {}
    for name in ("bsp", "ssp0"):
        made = server("asgd", np.ones(1), 2, CONTROLLERS[name])
        workers = Workers(made, lambda worker: 1.0 + worker, 3, gradient=_slope)
        workers.run()
        staleness = [event.staleness for event in made.records.events]
        found[name] = (made.version, sum(staleness), float(made.params[0]))
    # On w * w / 2 from 1 with rate 0.1: three steps of the mean, or three of two each.
    assert found["bsp"] == (3, 0, pytest.approx(0.9**3))
    assert found["ssp0"] == (6, 3, pytest.approx(0.8**3))


def _slope(worker, params):
    del worker
    return params.copy()


def test_each_by_hand():
    ledger = Ledger({0: 3, 1: 1, 2: 2}, held=(2, 0), waiting=(2, 0))
    decisions = {
        Asynchronous(): Decision(apply=(2,), release=(2, 0)),
        BulkSynchronous(): Decision((), ()),
        StaleSynchronous(1): Decision(apply=(2,), release=(2,)),
        StaleSynchronous(2): Decision(apply=(2,), release=(2, 0)),
    }
    for controller, decision in decisions.items():
        assert controller.decide(ledger, None, now_s=0.0)[0] == decision


@pytest.mark.parametrize("max_lead", [-1, 1.5, True, "2", None])
def test_max_lead_is_a_number_of_steps(max_lead):
    with pytest.raises(ValueError, match=r"max_lead must .*Use Asynchronous\(\)"):
        StaleSynchronous(max_lead)


@pytest.mark.parametrize("name", SCENES)
def test_transcripts_are_those_on_record(name):
    """A difference that is meant is recorded by ``make traces``."""
    assert SCENES[name].transcript() == (FOLDER / f"{name}.txt").read_text()


def test_every_record_has_its_scene():
    assert {path.stem for path in FOLDER.glob("*.txt")} == SCENES.keys()
