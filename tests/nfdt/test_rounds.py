"""Rounds that close before everybody is in: what is in them, what is late."""

import collections

import pytest

from nfdt.protocol.controllers import Backup, Decision, Ledger, Partial
from nfdt.protocol.events import Use
from tests.nfdt.test_controllers import SEEDS, TROUBLES, run

DROPPING, KEEPING = ["partial", "backup"], ["partial keep", "backup keep"]


def events(name, seed, trouble="none"):
    return run(name, seed, trouble=trouble)[0].server.records.events


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", DROPPING)
def test_what_is_late_is_dropped_and_its_sender_goes_on_at_once(name, trouble):
    dropped = 0
    for seed in SEEDS:
        for event in events(name, seed, trouble):
            if event.use == Use.DROPPED:
                dropped += 1
                assert (event.staleness > 0, event.wait_s) == (True, 0)
            else:
                assert event.staleness == 0
    assert dropped


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", KEEPING)
def test_what_is_late_is_kept_for_the_next_round(name, trouble):
    found = [e for seed in SEEDS for e in events(name, seed, trouble)]
    assert all(event.use == Use.UPDATE for event in found)
    assert any(event.staleness > 0 for event in found)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [*DROPPING, *KEEPING])
def test_a_round_of_four_closes_with_three(name, seed):
    found = run(name, seed)[0]
    sizes = collections.Counter(
        e.version for e in found.server.records.events if e.use == Use.UPDATE
    )
    ends = [s for s in found.steps if s.what == "bye"]
    for step in found.steps:
        if step.version is not None and step.time_s < ends[0].time_s:
            assert sizes[step.version] == 3


@pytest.mark.parametrize(
    ("controller", "wanted"),
    [
        (Partial(0.8), [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]),
        (Partial(0.7), [1, 2, 3, 3, 4, 5, 5, 6, 7, 7]),
        (Partial(1), list(range(1, 11))),
        (Partial(1e-9), [1] * 10),
        (Backup(2), [1, 1, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_how_many_a_round_wants(controller, wanted):
    assert [controller.wanted(n) for n in range(1, 11)] == wanted


def test_a_rounding_wants_no_worker_more():
    assert 0.28 * 25 > 7
    assert Partial(0.28).wanted(25) == 7


def test_each_by_hand():
    everybody = dict.fromkeys(range(5), 1)
    ledger = Ledger(everybody, (3, 0, 1), (3, 0, 1), late=frozenset({0}))
    decisions = {
        Partial(0.4): Decision((3, 1), (3, 0, 1), drop=(0,)),
        Partial(0.5): Decision((), (0,), drop=(0,)),
        Partial(0.5, keeps_late=True): Decision((3, 0, 1), (3, 0, 1)),
        Partial(0.8, keeps_late=True): Decision((), ()),
        Backup(2): Decision((), (0,), drop=(0,)),
        Backup(2, keeps_late=True): Decision((3, 0, 1), (3, 0, 1)),
    }
    for controller, decision in decisions.items():
        assert controller.decide(ledger, None, now_s=0.0)[0] == decision


def test_who_has_pushed_and_is_not_awaited_any_more_counts():
    """Else a round of four would close with two where one of them asks for batches."""
    ledger = Ledger({1: 1, 2: 1, 3: 1}, held=(0, 1), waiting=(0, 1))
    assert Partial(0.6).decide(ledger, None, now_s=0.0)[0] == Decision((), ())


@pytest.mark.parametrize("share", [0, -1, 1.1, True, "0.8", float("nan")])
def test_a_share_is_one(share):
    with pytest.raises(ValueError, match=r"share must be .* in \(0, 1\]\. Received"):
        Partial(share)


@pytest.mark.parametrize("spare", [0, 1.5, True, None])
def test_spare_workers_are_some(spare):
    with pytest.raises(ValueError, match=r"spare must .* Use BulkSynchronous\(\)"):
        Backup(spare)
