"""What a shard knows of one worker: its states, its invariants, its line."""

import dataclasses

import numpy as np
import pytest

from nfdt.protocol.controllers import Backup, BulkSynchronous
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_server import ShardServer
from nfdt.protocol.shard_state import (
    Copy,
    ProgressTable,
    WorkerProgress,
    WorkerState,
    first_wrong,
)
from nfdt.rules.updates import is_finite
from tests.nfdt import test_controllers
from tests.nfdt.rules import CONTROLLERS, push, server

ONES = np.ones(2)
NUM_WORKERS = 3


def states(made: ShardServer) -> list[str]:
    """Returns the state of each worker, in their order."""
    return [one.state.value for one in made.progress]


def made_of(controller) -> ShardServer:
    return server("asgd", np.zeros(2), NUM_WORKERS, controller)


def test_a_gradient_is_held_until_all_are_in():
    made = made_of(BulkSynchronous())
    assert states(made) == ["computing"] * 3
    push(made, 0, ONES)
    push(made, 2, ONES)
    assert states(made) == ["held", "computing", "held"]
    push(made, 1, ONES)
    assert states(made) == ["computing"] * 3


def test_a_worker_without_parameters_waits_when_its_gradient_is_used():
    """Nobody may start a step at lead 2 before the others have made one."""
    made = made_of(CONTROLLERS["ssp1"])
    push(made, 0, ONES)
    assert states(made) == ["computing"] * 3
    push(made, 0, ONES)
    assert states(made) == ["waiting", "computing", "computing"]
    push(made, 1, ONES)
    push(made, 2, ONES)
    assert states(made) == ["computing"] * 3


def test_a_dropped_gradient_is_not_held():
    made = made_of(Backup(1))
    for worker in (0, 1, 2):
        push(made, worker, ONES)
    assert states(made) == ["computing"] * 3
    assert all(one.held is None for one in made.progress)


def test_who_is_away_is_back_with_its_push():
    made = made_of(BulkSynchronous())
    made.handle(Message(Kind.AWAY, 1), 0.0)
    assert states(made) == ["computing", "away", "computing"]
    push(made, 1, ONES)
    assert states(made) == ["computing", "held", "computing"]


def test_who_is_away_may_have_a_gradient_that_is_held():
    made = made_of(BulkSynchronous())
    push(made, 1, ONES)
    made.excuse(1, 1.0)
    assert states(made)[1] == "away"
    assert made.holds(1)
    made.rejoin(1)
    assert states(made)[1] == "held"


def test_who_has_left_is_gone_until_one_joins_in_its_place():
    made = made_of(BulkSynchronous())
    push(made, 1, ONES)
    made.handle(Message(Kind.BYE, 1), 2.0)
    assert states(made)[1] == "gone"
    assert made.holds(1)  # the gradient is still used
    made.rejoin(1)
    assert states(made)[1] == "held"


def test_held_gradients_and_waiting_workers_are_in_the_order_of_arrival():
    made = made_of(BulkSynchronous())
    push(made, 2, ONES)
    push(made, 0, ONES)
    ledger = made.progress.ledger(made.version, asking=())
    assert (ledger.held, ledger.waiting) == ((2, 0), (2, 0))


def check(one: WorkerProgress, version: int) -> None:
    """Asserts what holds of a worker at any time."""
    state = one.state
    assert one.is_awaited == (state not in (WorkerState.AWAY, WorkerState.GONE))
    assert not (one.is_gone and one.is_awaited)
    if state is WorkerState.HELD:
        assert one.held is not None
        assert one.waiting_since_s is not None
    if state is WorkerState.WAITING:
        assert one.held is None
        assert one.waiting_since_s is not None
    if state is WorkerState.COMPUTING:
        assert one.held is None
        assert one.waiting_since_s is None
    assert one.unreleased is None or one.waiting_since_s is not None
    assert one.clock >= 0
    assert one.own_steps >= 0
    assert one.version(version) <= version
    assert str(one).startswith(f"worker {one.worker} {state.value}")


def check_ledger(server: ShardServer) -> None:
    """Asserts that what a controller sees is what the records say."""
    ledger, all_of_them = server.progress.ledger(server.version, ()), server.progress
    assert ledger.clocks == {o.worker: o.clock for o in all_of_them if o.is_awaited}
    assert set(ledger.held) == {o.worker for o in all_of_them if o.held}
    waiting = {o.worker for o in all_of_them if o.waiting_since_s is not None}
    assert set(ledger.waiting) == waiting
    assert ledger.steps == {o.worker: o.own_steps for o in all_of_them if o.own_steps}
    speeds = {o.worker: o.steps_per_s for o in all_of_them}
    assert ledger.speeds == {w: s for w, s in speeds.items() if s is not None}


@pytest.mark.parametrize("trouble", test_controllers.TROUBLES)
@pytest.mark.parametrize("name", CONTROLLERS)
def test_invariants_hold_after_every_message(name, trouble, monkeypatch):
    handle, clocks = ShardServer.handle, {}

    def checked(self, message, now_s):
        answers = handle(self, message, now_s)
        for one in self.progress:
            check(one, self.version)
            if one.is_awaited and one.worker in clocks:
                assert one.clock >= clocks[one.worker]
        check_ledger(self)
        clocks.clear()
        clocks.update(self.clocks)
        return answers

    monkeypatch.setattr(ShardServer, "handle", checked)
    workers, _ = test_controllers.run(name, 0, trouble=trouble)
    assert {one.state for one in workers.server.progress} == {WorkerState.GONE}


def test_a_table_counts_who_is_back_abreast_of_the_slowest():
    table = ProgressTable(3)
    table.excuse(2)
    for _ in range(4):
        table.count_push(0, 0)
    assert table.count_push(1, 0) == 0
    assert table.count_push(2, 0) == 0
    assert table.clocks == {0: 4, 1: 1, 2: 1}


HELD = WorkerProgress(3, clock=41, waiting_since_s=12.4, pulled=Copy(ONES, 118))


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (WorkerProgress(0), "worker 0 computing, clock 0"),
        (
            HELD,
            "worker 3 waiting, unreleased since 12.400 s, clock 41, pulled version 118",
        ),
        (
            dataclasses.replace(HELD, is_awaited=False, own_steps=2),
            "worker 3 away, unreleased since 12.400 s, 2 own steps, pulled version 118",
        ),
        (WorkerProgress(1, is_awaited=False, is_gone=True), "worker 1 gone"),
    ],
)
def test_a_worker_is_told_of_in_one_line(one, line):
    assert str(one) == line


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 4999, 9999])
def test_one_element_is_enough(place, wrong):
    vector = np.ones(10_000, np.float32)
    vector[place] = wrong
    assert not is_finite(vector)
    assert first_wrong(vector) == place


@pytest.mark.parametrize("value", [0.0, 3e38, -3e38, 1e-45])
def test_finite_numbers_are_finite_even_where_their_sum_is_not(value):
    with np.errstate(all="raise"):  # and nobody is warned
        assert is_finite(np.full(100, value, np.float32))


def test_an_empty_shard_is_finite():
    assert is_finite(np.zeros(0, np.float32))


def test_sums_hold_only_at_the_parameters_that_they_were_made_at():
    made = server("ddc-asgd", np.zeros(2), 2, BulkSynchronous())
    push(made, 0, ONES)
    held, rule = made.progress[0].held, made.update.correction
    late = held.late(made.params, made.version, 0.1, rule)
    assert late.measured == held.measured
    assert late.measured.is_finite
    assert held.late(made.params, made.version + 1, 0.1, rule).measured is None
    made.load(np.ones(2), None)
    held = made.progress[0].held
    assert held.late(made.params, made.version, 0.1, rule).measured is None
    push(made, 1, ONES)
    np.testing.assert_allclose(made.params, 0.9)


def test_who_is_released_by_an_update_shares_no_array():
    made = server("ddc-asgd", np.zeros(2), 3, BulkSynchronous())
    for worker in range(3):
        answers = push(made, worker, ONES)
    vectors = [made.params, *(answer.payload for answer in answers)]
    assert len({vector.ctypes.data for vector in vectors}) == 4
    for vector in vectors:
        np.testing.assert_allclose(vector, -0.1)
