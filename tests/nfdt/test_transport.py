"""The way to servers in the same process."""

import dataclasses
import queue
import threading

import numpy as np
import pytest

from nfdt.protocol.controllers import BulkSynchronous
from nfdt.protocol.gradients import Rows, pack_gradient
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.protocol.topology import Range
from nfdt.protocol.transport import LocalTransport
from tests.nfdt.rules import server
from tests.processes import wait_until

START = np.arange(6, dtype=np.float32)
SPEC = GroupSpec(
    algorithm="",
    optimizer={"class_name": "SGD", "config": {}},
    variables=(("weights", (6,)),),
    dtype="float32",
    wire="float32",
)


def transports(num_workers=2, num_servers=1, wire="float32", **options):
    """Returns one transport for each worker, over services that are open."""
    services = [
        Service(
            num_workers, lambda _, p: server("dc-asgd-c", p, num_workers, **options)
        )
        for _ in range(num_servers)
    ]
    inbox = []
    made = [LocalTransport(services, lambda: 0.0, inbox) for _ in range(num_workers)]
    payload = dataclasses.replace(SPEC, wire=wire).pack(START)
    for worker, transport in enumerate(made):
        message = Message(Kind.OPEN, worker, payload=payload)
        transport.call_all(dict.fromkeys(range(num_servers), message), {})
    return made


def test_who_waits_for_a_batch_is_let_go_when_all_is_over():
    (service,) = transports(1)[0].services
    way = LocalTransport([service], lambda: 0.0, waits=True)
    ask = Message(Kind.LEASE, 0, epoch=1, parts=1)
    assert call(way, ask).number == 0
    assert not way.close()
    way = LocalTransport([service], lambda: 0.0, waits=True)
    found = queue.SimpleQueue()
    asks = threading.Thread(target=lambda: found.put(call(way, ask)), daemon=True)
    asks.start()  # its only batch is in hand
    wait_until(lambda: way._asking._count, "it to wait")
    assert found.empty()
    assert way.close()
    assert found.get(timeout=10).number == -1


def pushing(worker, gradient, parts=0):
    return Message(Kind.PUSH, worker, parts=parts, payload=gradient)


def call(transport, message, into=None):
    return transport.call_all({0: message}, {0: into})[0]


def test_an_answer_goes_where_it_is_wanted():
    (transport,) = transports(1)
    into = np.zeros(6, np.float32)
    answer = call(transport, Message(Kind.PULL, 0), into)
    assert answer.payload is into
    np.testing.assert_array_equal(into, START)


def test_a_receiver_may_write_what_it_received():
    one, other = transports()
    call(one, Message(Kind.PULL, 0)).payload[:] = 99
    gradient = np.ones(6, np.float32)
    found = call(one, pushing(0, gradient)).payload
    np.testing.assert_allclose(found, START - 0.1, rtol=1e-6)
    np.testing.assert_array_equal(call(other, Message(Kind.PULL, 1)).payload, found)


def test_a_sender_may_write_what_it_sent_while_it_is_held():
    one, other = transports(controller=BulkSynchronous())
    gradient = np.ones(6, np.float32)
    one.post(0, pushing(0, gradient))
    gradient[:] = np.nan
    found = call(other, pushing(1, np.ones(6, np.float32))).payload
    np.testing.assert_allclose(found, START - 0.1, rtol=1e-6)


def test_answers_for_others_wait_for_them():
    one, other = transports(controller=BulkSynchronous())
    gradient = np.ones(6, np.float32)
    message = pushing(0, gradient)
    with pytest.raises(RuntimeError, match=r"no answer to PUSH of worker 0"):
        call(one, message)
    call(other, pushing(1, gradient))
    assert one.take(0, message).version == 1


def test_a_batch_is_not_mistaken_for_parameters():
    one, other = transports(controller=BulkSynchronous())
    message = pushing(0, np.ones(6, np.float32))
    one.post(0, message)
    call(other, pushing(1, np.ones(6, np.float32)))
    lease = call(one, Message(Kind.LEASE, 0, parts=3))
    assert (lease.kind, lease.number) == (Kind.LEASE, 0)
    assert one.take(0, message).kind is Kind.PARAMS


def test_each_server_answers_for_itself():
    (transport,) = transports(1, num_servers=2)
    messages = {s: pushing(0, np.full(6, s + 1.0, np.float32)) for s in range(2)}
    answers = transport.call_all(messages, {})
    for index, answer in answers.items():
        np.testing.assert_allclose(answer.payload, START - 0.1 * (index + 1), rtol=1e-6)


@pytest.mark.parametrize("wire", ["float32", "float64", "float16", "bfloat16"])
def test_rows_arrive_in_every_type(wire):
    (transport,) = transports(1, wire=wire, rate=-1.0)
    rows = Rows(0, 2, np.array([2]), np.array([[0.5, -1.5]]))
    parts, payload = pack_gradient([rows], Range(0, 6), wire)
    found = call(transport, pushing(0, payload, parts)).payload
    np.testing.assert_array_equal(found, [0, 1, 2, 3, 4.5, 3.5])


def test_a_gradient_of_another_size_is_refused():
    (transport,) = transports(1)
    with pytest.raises(ValueError, match="must fit its shard"):
        call(transport, pushing(0, np.ones(1, np.float32)))
