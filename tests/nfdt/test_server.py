"""What a server process does besides its shards."""

import re

import numpy as np
import pytest

from nfdt.protocol import serialization
from nfdt.protocol.controllers import (
    BulkSynchronous,
    DynamicSynchronous,
    LocalSteps,
)
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.events import Use
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Wait
from tests.nfdt.services import START, opening, service

ONES = np.ones(5, np.float32)


def opened(num_workers=2, controller=None):
    made = service(num_workers, controller)
    for worker in range(num_workers):
        made.handle(opening(worker), 0.0)
    return made


def push(made, worker, gradient=ONES, now_s=0.0, **fields):
    return made.handle(Message(Kind.PUSH, worker, payload=gradient, **fields), now_s)


def test_the_first_who_opens_brings_the_values():
    made = service()
    (first,) = made.handle(opening(0), 0.0)
    (second,) = made.handle(opening(1, START * 0), 0.0)
    for answer in (first, second):
        assert answer.kind is Kind.PARAMS
        np.testing.assert_array_equal(answer.payload, START)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"algorithm": "dc-asgd-a"}, "algorithm asgd on worker 0, dc-asgd-a on"),
        (
            {"undecayed": ("dense/bias",)},
            r"no weight decay of \[\] on .*, of \['d",
        ),
        ({"optimizer": {"class_name": "SGD", "config": {}}}, "optimizer .*momentum"),
    ],
)
def test_who_trains_otherwise_is_refused(changes, text):
    made = service()
    made.handle(opening(0), 0.0)
    (answer,) = made.handle(opening(1, **changes), 0.0)
    assert answer.kind is Kind.REFUSED
    assert re.search(text, bytes(answer.payload).decode())


def test_a_rate_that_a_callback_has_changed_before_another_began_is_no_other_model():
    made = service()
    for worker, rate in enumerate((0.1, 0.2)):
        config = {"momentum": 0.9, "learning_rate": rate}
        optimizer = {"class_name": "SGD", "config": config}
        (answer,) = made.handle(opening(worker, optimizer=optimizer), 0.0)
        assert answer.kind is Kind.PARAMS


def test_groups_are_apart():
    made = opened(1)
    made.handle(opening(0, START + 1, group=1), 0.0)
    (answer,) = push(made, 0, group=1)
    assert answer.group == 1
    assert [made.groups[g].version for g in (0, 1)] == [0, 1]
    assert [e.group for e in made.take_records()[0]] == [1]
    assert made.take_records() == ([], [])


def test_state_goes_to_another_service():
    made, other = opened(), opened()
    for _ in range(3):
        push(made, 0)
    (answer,) = made.handle(Message(Kind.STATE, 0), 0.0)
    found = serialization.load(answer.payload)
    assert found["version"] == 3
    params = made.groups[0].params
    data = serialization.dump({"params": params, "state": found["state"]})
    (answer,) = other.handle(Message(Kind.LOAD, 1, payload=data), 0.0)
    np.testing.assert_array_equal(answer.payload, params)
    push(made, 0)
    push(other, 0)
    np.testing.assert_array_equal(other.groups[0].params, made.groups[0].params)


def ask(made, worker, epoch=0, batches=5):
    return made.handle(Message(Kind.LEASE, worker, epoch=epoch, parts=batches), 0.0)


def test_a_push_finishes_its_batch():
    made = opened(1)
    numbers = []
    for _ in range(3):
        (grant,) = ask(made, 0, batches=2)
        assert grant.kind is Kind.LEASE
        numbers.append(grant.number)
        if grant.number >= 0:
            push(made, 0, epoch=0, number=grant.number)
    assert numbers == [0, 1, -1]


def test_a_refused_gradient_and_a_skipped_batch_finish_theirs_too():
    made = opened(1)
    for _ in range(2):
        ask(made, 0, batches=2)
    push(made, 0, ONES * np.nan, number=0)
    made.handle(Message(Kind.DONE, 0, number=1), 0.0)
    assert made.leases[0].is_over


def test_batches_of_a_lost_worker_go_to_who_is_left():
    made = opened()
    for worker in (0, 1):
        ask(made, worker, batches=2)
    push(made, 1, number=1)
    assert ask(made, 1, batches=2) == []
    (answer,) = made.lose(0, 1.0)
    assert (answer.kind, answer.worker, answer.number) == (Kind.LEASE, 1, 0)


def test_what_a_lost_worker_had_sent_comes_too_late():
    """Its batch is another's by then: used, it would count twice."""
    made = opened(2, BulkSynchronous())
    ask(made, 0)
    made.lose(0, 1.0)
    assert push(made, 0, number=0) == []
    assert made.leases[0].done == frozenset()
    assert [a.worker for a in push(made, 1)] == [1]  # and nobody waits for it again


def test_a_worker_that_joins_is_waited_for():
    made = service(3, BulkSynchronous(), present=[0, 1])
    for worker in (0, 1):
        made.handle(opening(worker), 0.0)
    push(made, 0)
    assert [a.worker for a in push(made, 1)] == [0, 1]  # two are all there are
    assert push(made, 2) == []  # not there: as if it had not come
    made.join(2, 1.0)
    assert push(made, 0) == push(made, 1) == []
    (params,) = made.handle(opening(2), 1.0)
    assert params.version == 1
    assert {a.worker for a in push(made, 2)} == {0, 1, 2}


@pytest.mark.parametrize("worker", [0, 2, -1])
def test_who_joins_is_new_and_among_the_workers(worker):
    with pytest.raises(ValueError, match=r"that is not present\. Received: .*Make the"):
        service(2, present=[0]).join(worker, 0.0)


def test_nobody_waits_for_a_worker_lost_before_a_group_was_opened():
    made = service(3, BulkSynchronous())
    made.lose(1, 0.0)
    come(made, 2)
    made.handle(opening(0), 1.0)
    assert [a.worker for a in push(made, 0)] == [0]


def test_losing_twice_is_losing_once():
    made = opened()
    made.lose(0, 1.0)
    assert made.lose(0, 2.0) == []
    assert made.present == {1}


def test_losing_releases_who_waited_in_a_shard():
    made = opened(2, BulkSynchronous())
    assert push(made, 0) == []
    (answer,) = made.handle(Message(Kind.BYE, 1), 2.0)
    assert (answer.kind, answer.worker) == (Kind.PARAMS, 0)


def test_who_is_away_is_still_there():
    made = opened(2, BulkSynchronous())
    made.handle(Message(Kind.AWAY, 1), 0.0)
    assert [a.worker for a in push(made, 0)] == [0]
    assert made.present == {0, 1}
    assert push(made, 1) == []  # it is back, and waits for 0


def test_a_local_step_is_answered_and_its_batch_done_when_it_is_pushed():
    made = opened(2, LocalSteps(2))
    for number, submits in ((0, 0), (1, 1)):
        ask(made, 0, batches=5)
        step = Message(Kind.STEP, 0, number=number)
        (pace,) = made.handle(step, 0.0)
        assert (pace.kind, pace.worker, pace.number) == (Kind.PACE, 0, submits)
    assert made.leases[0].done == frozenset()
    made.handle(Message(Kind.PUSH, 0, payload=np.ones(5, np.float32)), 0.0)
    assert made.leases[0].done == {0, 1}
    events, _ = made.take_records()
    assert [(e.use, e.number, e.lead) for e in events] == [
        (Use.OWN, 0, 1),
        (Use.OWN, 1, 2),
    ]


def test_who_steps_is_back():
    made = opened(2, LocalSteps(1))
    made.handle(Message(Kind.AWAY, 1), 0.0)
    made.handle(Message(Kind.STEP, 1), 0.0)
    assert push(made, 0) == []


def test_barriers_of_two_groups_do_not_wait_for_each_other():
    """Worker 0 is held in one group's barrier, worker 1 in the other's."""
    made = opened(2, DynamicSynchronous(1, 1, fixed=True))
    for worker in (0, 1):
        made.handle(opening(worker, group=1), 0.0)
    assert push(made, 0, group=0) == []
    (answer,) = push(made, 1, group=1)  # worker 0 cannot submit here
    assert (answer.worker, answer.group) == (1, 1)
    answers = push(made, 1, group=0)
    assert {(a.worker, a.group) for a in answers} == {(0, 0), (1, 0)}


def test_who_is_back_is_waited_for_before_it_pushes():
    """Else what it has pulled would be old by then."""
    made = opened(2, BulkSynchronous())
    made.handle(Message(Kind.AWAY, 1), 0.0)
    made.handle(Message(Kind.BACK, 1), 0.0)
    assert push(made, 0) == []
    assert {a.worker for a in push(made, 1)} == {0, 1}


def test_who_waits_for_whom():
    made = opened(3, BulkSynchronous())
    assert made.waits() == {}
    push(made, 1)
    held = Wait("the parameters after its push 1", frozenset({0, 2}))
    assert made.waits() == {1: held}
    meet(made, 2, "a")  # a controller does not wait for it meanwhile
    assert made.waits()[2] == Wait("the meeting a", frozenset({0, 1}))
    assert made.waits()[1].whom == {0}


def test_who_waits_for_a_batch_does_so_for_who_has_one():
    made = opened(2)
    for worker in (0, 1):
        ask(made, worker, batches=2)
    push(made, 0, epoch=0, number=0)
    ask(made, 0, batches=2)
    assert made.waits() == {0: Wait("a batch of its epoch", frozenset({1}))}


def test_a_worker_that_failed_has_left():
    made = opened()
    made.handle(Message(Kind.FAIL, 1, payload=b"ValueError: no"), 0.0)
    assert made.present == {0}


def meet(made, worker, name, epoch=-1):
    payload = serialization.pack({"name": name})
    return made.handle(Message(Kind.MEET, worker, epoch=epoch, payload=payload), 0.0)


def test_a_meeting_and_a_loss():
    made = opened(3)
    assert meet(made, 0, "sum") == []
    assert meet(made, 2, "sum") == []
    answers = made.lose(1, 0.0)
    assert [(a.kind, a.worker) for a in answers] == [(Kind.BYTES, 0), (Kind.BYTES, 2)]


def test_a_stopped_fit_leases_nothing_and_awaits_no_epoch():
    made = opened(2)
    fit = EpochId(3, 0).pack()
    assert ask(made, 0, epoch=fit + 1, batches=1)[0].number == 0
    assert ask(made, 1, epoch=fit + 1, batches=1) == []
    assert meet(made, 0, "epoch 1", epoch=fit + 1) == []
    answers = made.handle(Message(Kind.STOP, 0, epoch=fit + 1), 0.0)
    lease, meeting = answers
    assert (lease.worker, lease.number, lease.parts) == (1, -1, 1)
    assert (meeting.kind, meeting.worker) == (Kind.BYTES, 0)
    assert ask(made, 1, epoch=fit + 2)[0].number == -1
    assert ask(made, 1, epoch=EpochId(4, 0).pack())[0].number == 0  # another fit


def test_what_a_server_does_not_answer():
    with pytest.raises(ValueError, match="PARAMS"):
        opened().handle(Message(Kind.PARAMS, 0), 0.0)


def come(made, worker, name="end of epoch"):
    payload = serialization.pack({"name": name}, np.zeros(0, np.uint8))
    return made.handle(Message(Kind.MEET, worker, epoch=-1, payload=payload), 0.0)


def test_nobody_waits_for_a_worker_that_waits_in_a_meeting():
    made = opened(2, BulkSynchronous())
    assert come(made, 0) == []
    (answer,) = push(made, 1)  # alone: worker 0 cannot push before it has come
    assert (answer.kind, answer.worker) == (Kind.PARAMS, 1)
    assert {a.worker for a in come(made, 1)} == {0, 1}
    assert push(made, 0) == []  # they wait for each other again
    assert len(push(made, 1)) == 2


def test_a_gradient_that_is_held_is_applied_when_its_peer_comes_to_a_meeting():
    made = opened(2, BulkSynchronous())
    assert push(made, 1) == []
    (answer,) = come(made, 0)
    assert (answer.kind, answer.worker) == (Kind.PARAMS, 1)


def test_nobody_waits_for_a_worker_that_can_get_no_batch():
    made = opened(2, BulkSynchronous())
    (first,) = ask(made, 0, batches=1)
    assert ask(made, 1, batches=1) == []  # the only one is in another's hand
    answers = push(made, 0, epoch=first.epoch, number=first.number)
    assert [a.kind for a in answers if a.worker == 0] == [Kind.PARAMS]
    assert [a.number for a in answers if a.kind is Kind.LEASE] == [-1]


def test_a_worker_that_asks_while_its_push_is_held_is_released_with_the_rest():
    made = opened(2, BulkSynchronous())
    mine, theirs = (ask(made, w, batches=2)[0] for w in (0, 1))
    assert push(made, 1, epoch=theirs.epoch, number=theirs.number) == []
    assert ask(made, 1, batches=2) == []
    answers = push(made, 0, epoch=mine.epoch, number=mine.number)
    assert {a.worker for a in answers if a.kind is Kind.PARAMS} == {0, 1}
    assert made.groups[0].version == 1  # one update, of both
