"""Parts of gradients to a server, and parts of parameters back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fdtcore.compression.layout import Layout
from fdtcore.compression.top_k import TopK
from nfdt.options import Options
from nfdt.protocol import elements
from nfdt.protocol.client import NotFinite, ShardedVector
from nfdt.protocol.elements import ELEMENTS, Elements
from nfdt.protocol.gradients import WIRE_TYPES, Dense, Rows, unpack_gradient
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.server import Service
from nfdt.protocol.shard_server import ShardServer
from nfdt.protocol.transport import LocalTransport
from tests.nfdt import rules

ROWS, COLUMNS, BIAS = 12, 10, 10
SIZE = ROWS * COLUMNS + BIAS
RATE, RATIO = 0.1, 0.05
START = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
SPEC = GroupSpec(
    algorithm="asgd",
    optimizer={"class_name": "SGD", "config": {}},
    variables=(("kernel", (ROWS, COLUMNS)), ("bias", (BIAS,))),
    dtype="float32",
    wire="float32",
    answered=RATIO,
)


class Job:
    """Workers and a server in one process."""

    def __init__(self, workers=2, row="asgd", ratio=RATIO, answered=RATIO):
        def make(spec, params):
            update = rules.update(row, params, workers)
            controller = rules.CONTROLLERS["asp"]
            return ShardServer(
                *(params, update, controller, workers, RATE), answered=spec.answered
            )

        self.service = Service(workers, make)
        inbox = []
        self.vectors = []
        for worker in range(workers):
            transport = LocalTransport([self.service], lambda: 0.0, inbox)
            layout = Layout(((ROWS, COLUMNS), (BIAS,)))
            compressor = TopK(layout, ratio, small=50) if ratio else None
            vector = ShardedVector(
                *(transport, worker, 0, [ROWS * COLUMNS, BIAS], "float32", "float32"),
                compressor=compressor,
            )
            vector.open(dataclasses.replace(SPEC, answered=answered), START)
            self.vectors.append(vector)

    @property
    def server(self):
        return self.service.groups[0]

    def push(self, worker, gradient):
        self.vectors[worker].push(
            [Dense(0, gradient[:-BIAS]), Dense(ROWS * COLUMNS, gradient[-BIAS:])]
        )

    def residual(self, worker):
        return self.vectors[worker]._compressor.state["residual"]

    def known(self, worker):
        return self.server.progress[worker].pulled.params


def drawn(steps, seed=1):
    shape = (steps, SIZE)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def same_bits(one, other):
    return one.tobytes() == other.tobytes()


@pytest.mark.parametrize("row", ["asgd", "asgd momentum", "dc-asgd-a", "ddc-asgd"])
def test_the_server_knows_what_each_worker_has(row):
    job = Job(3, row)
    order = np.random.default_rng(2).integers(0, 3, 60)
    for worker, gradient in zip(order, drawn(60)):
        job.push(worker, gradient)
        vector = job.vectors[worker]
        assert same_bits(vector.params, job.known(worker))
        assert not same_bits(vector.params, job.server.params)


def chosen(values, count):
    return sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:count]


def test_numbers_are_those_of_a_scalar_reference():
    """Elements one after the other, in float32 as the job has them."""
    job = Job(2)
    params = list(START)
    has = [list(START), list(START)]
    rest = [[np.float32(0)] * SIZE, [np.float32(0)] * SIZE]
    rate = np.float32(RATE)
    border = ROWS * COLUMNS
    for step, gradient in enumerate(drawn(25)):
        worker = step * step % 3 % 2
        job.push(worker, gradient)
        waiting = [r + g for r, g in zip(rest[worker], gradient)]
        sent = chosen(waiting[:border], math.ceil(RATIO * border))
        sent += range(border, SIZE)  # small variables go whole
        for i in sent:
            params[i] = params[i] - rate * waiting[i]
            waiting[i] = np.float32(0)
        rest[worker] = waiting
        differs = [p - h for p, h in zip(params, has[worker])]
        for i in chosen(differs, math.ceil(RATIO * SIZE)):
            has[worker][i] = params[i]
        np.testing.assert_allclose(job.server.params, params, rtol=1e-6)
        np.testing.assert_allclose(job.vectors[worker].params, has[worker], rtol=1e-6)


def test_nothing_of_a_gradient_is_lost():
    job = Job(2)
    gradients = np.random.default_rng(3).integers(-9, 9, (30, SIZE))
    for step, gradient in enumerate(gradients):
        job.push(step % 2, gradient.astype(np.float32))
    rest = job.residual(0) + job.residual(1)
    moved = (START - job.server.params) / RATE
    np.testing.assert_allclose(moved + rest, gradients.sum(0), atol=1e-3)
    assert np.abs(rest).max() > 5


def test_workers_come_to_what_the_server_has():
    job = Job(2, answered=0.2)
    for step, gradient in enumerate(drawn(10)):
        job.push(step % 2, gradient)
    for _ in range(40):  # until all that was kept is sent, and answered
        job.push(0, np.zeros(SIZE, np.float32))
    assert same_bits(job.vectors[0].params, job.server.params)
    assert not job.residual(0).any()


def test_everything_is_the_dense_way():
    whole, dense = Job(2, "dc-asgd-a", 1.0, 1.0), Job(2, "dc-asgd-a", 0, 0.0)
    for step, gradient in enumerate(drawn(20)):
        for job in (whole, dense):
            job.push(step % 2, gradient)
        assert same_bits(whole.vectors[step % 2].params, dense.vectors[step % 2].params)


def test_all_parameters_may_answer_a_part_of_a_gradient():
    job = Job(2, answered=0.0)
    for step, gradient in enumerate(drawn(6)):
        job.push(step % 2, gradient)
        assert same_bits(job.vectors[step % 2].params, job.server.params)


def test_a_gradient_that_is_refused_leaves_no_trace():
    job = Job(1)
    job.push(0, drawn(1)[0])
    rest, params = job.residual(0).copy(), job.vectors[0].params.copy()
    bad = drawn(1, seed=5)[0]
    for place, variable in ((17, range(ROWS * COLUMNS)), (SIZE - 2, range(120, SIZE))):
        broken = bad.copy()
        broken[place] = np.inf
        with pytest.raises(NotFinite) as caught:
            job.push(0, broken)
        assert caught.value.element in variable  # it is named
        assert same_bits(job.residual(0), rest)
        assert same_bits(job.vectors[0].params, params)


def test_a_pull_brings_all():
    job = Job(2)
    for step, gradient in enumerate(drawn(6)):
        job.push(step % 2, gradient)
    job.vectors[1].pull()
    assert same_bits(job.vectors[1].params, job.server.params)
    assert same_bits(job.known(1), job.server.params)


def test_who_has_taken_what_another_has_is_answered_whole():
    job = Job(2)
    for step, gradient in enumerate(drawn(6)):
        job.push(step % 2, gradient)
    one, other = job.vectors
    one.pull()
    other.take(one.received.tobytes(), one.version, RATE)
    assert not same_bits(other.params, job.known(1))
    job.push(1, np.zeros(SIZE, np.float32))
    assert same_bits(other.params, job.server.params)
    job.push(0, drawn(1, seed=7)[0])
    job.push(1, np.zeros(SIZE, np.float32))
    assert same_bits(other.params, job.known(1))
    assert not same_bits(other.params, job.server.params)


def test_values_that_are_older_are_not_brought_to_the_server():
    job = Job(2)
    for step, gradient in enumerate(drawn(8)):
        job.push(step % 2, gradient)
    newest, vector = job.server.params.copy(), job.vectors[1]
    values = vector.params.copy()
    values[3] = 9  # what the user has set
    vector.load(values)
    newest[3] = 9
    assert same_bits(job.server.params, newest)


def test_rows_of_a_table_are_a_part_of_the_gradient():
    job = Job(1)
    values = np.ones((2, COLUMNS), np.float32)
    rows = Rows(0, COLUMNS, np.array([3, 5]), values)
    job.vectors[0].push([rows, Dense(ROWS * COLUMNS, np.zeros(BIAS, np.float32))])
    moved = np.flatnonzero(job.server.params != START)
    assert moved.tolist() == [30, 31, 32, 33, 34, 35]  # 5 % of 120, the first ones
    assert np.count_nonzero(job.residual(0)) == 14


@pytest.mark.parametrize("dtype", WIRE_TYPES.values(), ids=str)
def test_elements_come_back(dtype):
    sent = Elements(np.array([7, 0, 3], np.int32), np.array([1.5, -2, 0.25], dtype))
    payload = sent.pack()
    assert payload.nbytes == 3 * (4 + dtype.itemsize)
    places, values = elements.unpack(payload.tobytes(), 8, dtype)
    assert places.tolist() == [7, 0, 3]
    assert values.dtype == dtype and values.tolist() == sent.values.tolist()
    vector = np.full(8, 9, np.float32)
    unpack_gradient(ELEMENTS, payload, vector, str(dtype))
    assert vector.tolist() == [-2, 0, 0, 0.25, 0, 0, 0, 1.5]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\0" * 9, "places and values. Received: 9 bytes"),
        (Elements(np.array([8]), np.ones(1, np.float32)).pack(), "8 to 8 in a vector"),
        (Elements(np.array([-1]), np.ones(1, np.float32)).pack(), "-1 to -1"),
    ],
)
def test_what_are_no_elements_is_refused(payload, message):
    with pytest.raises(ValueError, match=message):
        elements.unpack(payload, 8, np.dtype(np.float32))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"wire": "topk"}, r"topk:RATIO\. Received: wire='topk'\. Write own, or topk"),
        ({"wire": "dgc:0.01"}, r"topk:RATIO\. Received"),
        ({"wire": "topk:0"}, r"topk:RATIO\. Received"),
        (
            {"wire": "topk:0.01", "servers": 2, "algorithm": "asgd"},
            r"one server takes a part of a gradient\. Received: .*servers=2",
        ),
        ({"wire": "topk:0.01", "local_steps": 4}, r"not what local steps have come to"),
        ({"wire": "topk:0.01", "algorithm": "easgd"}, r"Use a type such as bfloat16"),
    ],
)
def test_what_cannot_be_sent_in_part_is_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        Options(**chosen)
