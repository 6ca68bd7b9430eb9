"""Meetings: all come, some never do, and some come to the wrong one."""

import pytest

from nfdt.protocol import serialization
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.rendezvous import Meetings
from tests.nfdt.services import SPEC, opening, service


class Room:
    """Meetings of some workers."""

    def __init__(self, num_workers=3):
        self.meetings = Meetings()
        self.present = set(range(num_workers))
        self.over = set()

    def come(self, worker, name, data=b"", epoch=-1):
        payload = serialization.pack({"name": name}) + data
        self.meetings.bring(Message(Kind.MEET, worker, epoch=epoch, payload=payload))
        return self.close()

    def close(self):
        return self.meetings.close(self.present, lambda epoch: epoch in self.over)


def brought(answer):
    description, data = serialization.unpack(answer.payload)
    return dict(
        zip(description["workers"], serialization.unpack_list(data), strict=True)
    )


def test_everybody_gets_what_everybody_brought():
    room = Room()
    assert room.come(1, "sum", b"one") == []
    assert room.come(0, "sum", b"") == []
    answers = room.come(2, "sum", b"two!")
    assert [a.worker for a in answers] == [0, 1, 2]
    assert all(a.kind is Kind.BYTES for a in answers)
    assert all(brought(a) == {0: b"", 1: b"one", 2: b"two!"} for a in answers)


def test_a_name_can_be_used_again():
    room = Room(1)
    assert [brought(room.come(0, "sum", d)[0])[0] for d in (b"a", b"b")] == [b"a", b"b"]


def test_several_meetings_at_once():
    room = Room(2)
    room.come(0, "a")
    assert room.come(0, "b") == []  # its input's thread, say
    assert [a.worker for a in room.come(1, "b")] == [0, 1]
    assert [a.worker for a in room.come(1, "a")] == [0, 1]


def test_nobody_waits_for_the_lost_and_their_part_counts():
    room = Room()
    room.come(0, "sum", b"x")
    room.come(1, "sum", b"y")
    room.present = {0, 2}
    assert room.close() == []
    room.present = {0}
    (answer,) = room.close()
    assert brought(answer) == {0: b"x", 1: b"y"}


def test_an_epoch_that_is_over_is_not_waited_for():
    room = Room()
    room.come(0, "epoch", epoch=4)
    room.over = {4}
    assert [a.worker for a in room.close()] == [0]


@pytest.mark.parametrize("loss", [False, True])
def test_where_all_wait_for_each_other_all_are_told(loss):
    room = Room(3 if loss else 2)
    room.come(0, "evaluate")
    answers = room.come(1, "fit")
    if loss:
        assert answers == []
        room.present = {0, 1}
        answers = room.close()
    assert [(a.kind, a.worker) for a in answers] == [
        (Kind.REFUSED, 0),
        (Kind.REFUSED, 1),
    ]
    assert b"evaluate on worker 0, fit on worker 1" in answers[0].payload
    assert room.close() == []


def test_a_meeting_without_a_description_is_refused():
    with pytest.raises(ValueError):
        Meetings().bring(Message(Kind.MEET, 0, payload=b"\1"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "dc-asgd-a"}, ["algorithm asgd", "dc-asgd-a on worker 1"]),
        (
            {"variables": (("dense/kernel", (5,)),)},
            ["[2, 2]] on worker 0", "[5]] on worker 1"],
        ),
        (
            {"variables": (*SPEC.variables, ("dense/gain", (1,)))},
            ["nothing on worker 0", "'dense/gain', [1]] on worker 1"],
        ),
        (
            {"optimizer": {"class_name": "Adam", "config": {}}},
            ["optimizer", "Adam", "worker 1"],
        ),
    ],
)
def test_another_model_is_refused(changes, words):
    made = service()
    made.handle(opening(0), 0.0)
    (answer,) = made.handle(opening(1, **changes), 0.0)
    assert answer.kind is Kind.REFUSED
    text = answer.payload.decode()
    assert text.startswith("all workers must train the same model. Received: ")
    assert all(word in text for word in words)
