"""One shard: what it remembers, and what it tells."""

import math

import numpy as np
import pytest

from nfdt.protocol.controllers import BulkSynchronous, StaleSynchronous
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_server import ShardServer
from nfdt.rules.optimizers import Sgd
from nfdt.rules.updates import BlockUpdate
from tests.nfdt.rules import CONTROLLERS, ROWS, push, server

START = np.linspace(-1, 1, 5).astype(np.float32)
ONES = np.ones(5, np.float32)


def pull(made, worker, now_s=0.0):
    (answer,) = made.handle(Message(Kind.PULL, worker), now_s)
    return answer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_after_r_pushes_at_rate_minus_one_a_pull_gives_r_times_v(name, dtype):
    made = server("asgd", np.zeros(5, dtype), 2, CONTROLLERS[name], rate=-1.0)
    v = np.arange(5).astype(dtype)
    for _ in range(4):
        push(made, 0, v)
        push(made, 1, v)
    # Else a round of both is one mean, or the second of two comes too late.
    counts_all = name.startswith(("asp", "ssp", "dsp")) or name == "backup keep"
    updates = 8 if counts_all else 4
    np.testing.assert_array_equal(pull(made, 0).payload, updates * v)


def test_staleness_is_the_updates_since_the_pull():
    made = server("asgd", START)
    for worker in (0, 1, 1, 2, 0):
        push(made, worker, ONES)
    found = [(e.worker, e.staleness, e.version) for e in made.records.events]
    assert found == [(0, 0, 1), (1, 1, 2), (1, 0, 3), (2, 3, 4), (0, 3, 5)]


def test_what_was_sent_does_not_change_with_later_updates():
    made = server("dc-asgd-c", START)
    (answer,) = push(made, 0, ONES)
    kept = answer.payload.copy()
    push(made, 1, ONES)
    np.testing.assert_array_equal(answer.payload, kept)


def test_a_pull_during_a_hold_does_not_change_what_the_gradient_was_computed_at():
    made = server("dc-asgd-c", START, 2, BulkSynchronous())
    push(made, 0, ONES)
    made.params += 1  # as another worker's load would
    made.version += 1
    pull(made, 0)
    push(made, 1, ONES)
    moved = [e for e in made.records.events if e.worker == 0]
    assert moved[0].staleness == 1
    step = made.params - (START + 1)
    late = ONES + np.float32(0.04)
    np.testing.assert_allclose(step, -0.1 * late, rtol=1e-5)


def test_a_rate_holds_from_the_push_that_says_it():
    made = server("asgd", START * 0, rate=1.0)
    push(made, 0, ONES)
    push(made, 1, ONES, rate=0.5)
    (answer,) = push(made, 2, ONES)
    np.testing.assert_array_equal(made.params, -2 * ONES)
    assert answer.rate == 0.5


def test_a_schedule_follows_the_version():
    made = ShardServer(
        START * 0,
        BlockUpdate(ROWS["asgd"][0].correction, Sgd(), START, 1),
        CONTROLLERS["asp"],
        1,
        schedule=lambda version: 2.0**-version,
    )
    assert pull(made, 0).rate == 1.0
    for _ in range(3):
        push(made, 0, ONES, rate=7.0)  # a worker does not overrule a schedule
    np.testing.assert_array_equal(made.params, -1.75 * ONES)
    assert pull(made, 0).rate == 0.125


def test_times_of_an_event():
    made = server("asgd", START, 2, BulkSynchronous())
    one = Message(
        Kind.PUSH, 0, clock=1, loss=0.5, compute_s=2.0, exchange_s=0.1, payload=ONES
    )
    made.handle(one, 3.0)
    assert made.holds(0)
    made.handle(Message(Kind.PUSH, 1, clock=1, payload=ONES), 7.5)
    first, second = made.records.events
    assert (first.time_s, first.wait_s, first.lead) == (7.5, 4.5, 1)
    assert (first.loss, first.compute_s, first.exchange_s) == (0.5, 2.0, 0.1)
    assert (second.wait_s, second.lead) == (0.0, 0)
    assert math.isnan(second.loss)
    assert not made.holds(0)


def test_the_gradient_of_a_worker_that_left_is_used_and_told():
    made = server("asgd", START * 0, 3, BulkSynchronous(), rate=1.0)
    push(made, 0, ONES)
    assert made.leave(0, 1.0) == []
    push(made, 1, 3 * ONES)
    push(made, 2, 5 * ONES)
    np.testing.assert_array_equal(made.params, -3 * ONES)
    assert sorted(e.worker for e in made.records.events) == [0, 1, 2]


def test_leaving_releases_those_who_waited():
    made = server("asgd", START, 2, StaleSynchronous(max_lead=1))
    push(made, 0, ONES)
    assert push(made, 0, ONES) == []
    (answer,) = made.handle(Message(Kind.AWAY, 1), 5.0)
    assert answer.worker == 0
    assert made.leave(1, 6.0) == []  # twice is no error


def test_who_comes_back_is_abreast_of_the_slowest():
    made = server("asgd", START, 2, StaleSynchronous(max_lead=0))
    made.leave(1, 0.0)
    for _ in range(5):
        assert [a.worker for a in push(made, 0, ONES)] == [0]
    assert [a.worker for a in push(made, 1, ONES)] == [1]
    assert made.clocks == {0: 5, 1: 5}


def test_who_comes_back_alone():
    made = server("asgd", START, 1)
    made.leave(0, 0.0)
    push(made, 0, ONES, clock=9)
    assert made.clocks == {0: 9}


def test_loading_replaces_values_and_state():
    made, other = server("asgd momentum", START), server("asgd momentum", START)
    for _ in range(3):
        push(made, 0, ONES)
    other.load(made.params, made.update.state())
    push(made, 0, ONES)
    push(other, 0, ONES)
    np.testing.assert_array_equal(made.params, other.params)


def test_what_a_shard_does_not_serve():
    with pytest.raises(ValueError, match="MEET"):
        server("asgd", START).handle(Message(Kind.MEET, 0), 0.0)
