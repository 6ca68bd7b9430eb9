"""Messages between workers and servers as a log shows them, on both sides."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from fdtcore.message_log import MessageLog
from nfdt.protocol import serialization
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import LocalTransport, ServerLost
from nfdt.telemetry.message_log import LoggedEndpoint, LoggedTransport
from tests.nfdt.services import START, opening, service

MEGABYTE = np.zeros(1_000_000, np.uint8)


@pytest.fixture
def log(caplog):
    logger = logging.getLogger("test.messages")
    logger.addHandler(caplog.handler)  # as a script with one of its own
    yield MessageLog("test")
    logger.handlers.clear()


def test_a_worker_logs_each_message_with_its_answer(log, caplog):
    way = LoggedTransport(LocalTransport([service()], lambda: 0.0), log)
    into = np.empty_like(START)
    way.call_all({0: opening(1)}, {0: into})
    push = Message(Kind.PUSH, 1, clock=41, number=7, payload=np.ones_like(START))
    answer = way.call_all({0: push}, {0: into})[0]
    assert answer.kind is Kind.PARAMS
    way.post(0, Message(Kind.AWAY, 1))
    lines = [re.sub(r"[\d.]+ (us|ms)", "TIME", line) for line in caplog.messages]
    assert re.fullmatch(r"w1 -> s0  open  v=0  \d+ B  TIME", lines[0])
    assert lines[1:] == [
        "w1 -> s0  push  clock=41  batch=7  v=1  20 B  TIME",
        "w1 -> s0  away",
    ]


def test_a_message_without_an_answer_has_a_line(log, caplog):
    class Lost:
        num_servers = 1

        def call_all(self, messages, into):
            raise ServerLost("server 0 is gone")

    with pytest.raises(ServerLost):
        LoggedTransport(Lost(), log).call_all({0: Message(Kind.PULL, 2)}, {})
    assert re.fullmatch(r"w2 -> s0  pull  no answer  [\d.]+ us", caplog.messages[0])


def test_a_refusal_and_a_pace_are_named(log, caplog):
    class Answering:
        num_servers = 1

        def call_all(self, messages, into):
            return {0: Message(Kind.REFUSED, 0, payload=b"not finite")}

    LoggedTransport(Answering(), log).call_all({0: Message(Kind.PUSH, 0)}, {})
    assert "push  clock=0  refused" in caplog.messages[0]


def test_a_server_logs_what_comes_and_how_long_it_held_it(log, caplog):
    class Endpoint:
        def __init__(self):
            self.sent = []
            self.coming = [Message(Kind.PUSH, 3, clock=41, payload=MEGABYTE), None]

        def receive(self):
            return self.coming.pop(0)

        def send(self, message):
            self.sent.append(message)

        def end(self, worker, why="", code=1):
            self.sent.append((worker, why))

    times_s = iter([1.0, 1.0019])
    inner = Endpoint()
    endpoint = LoggedEndpoint(inner, 1, log, lambda: next(times_s))
    assert endpoint.receive().clock == 41
    assert endpoint.receive() is None
    answer = Message(Kind.PARAMS, 3, version=118, payload=MEGABYTE)
    endpoint.send(answer)
    endpoint.end(3, "worker 1 failed")
    assert inner.sent == [answer, (3, "worker 1 failed")]
    assert caplog.messages == [
        "w3 -> s1  push  clock=41  1.0 MB",
        "s1 -> w3  params  v=118  1.0 MB  1.9 ms",
        "s1 -> w3  ended  worker 1 failed",
    ]


def test_a_meeting_is_named(log, caplog):
    payload = serialization.pack({"name": "nfdt.barrier.0 #1"})
    meet = Message(Kind.MEET, 0, payload=payload)
    LoggedTransport(LocalTransport([service(1)], lambda: 0.0), log).call_all(
        {0: meet}, {}
    )
    assert "w0 -> s0  meet  nfdt.barrier.0 #1  " in caplog.messages[0]
