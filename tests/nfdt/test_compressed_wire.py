"""Compressed gradients to a server, and parts of parameters back."""

from __future__ import annotations

import dataclasses
import math

import ml_dtypes
import numpy as np
import pytest

from fdtcore.compression import factory
from fdtcore.compression.factory import Reader
from fdtcore.compression.layout import Layout
from fdtcore.compression.specification import Specification
from nfdt.options import Options
from nfdt.protocol import elements
from nfdt.protocol.client import NotFinite, ShardedVector
from nfdt.protocol.controllers import Asynchronous, Decision
from nfdt.protocol.elements import Elements
from nfdt.protocol.gradients import WIRE_TYPES, Dense, Rows
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.server import Service
from nfdt.protocol.shard_server import ShardServer
from nfdt.protocol.transport import LocalTransport
from tests.nfdt import rules

ROWS, COLUMNS, BIAS = 40, 30, 10
KERNEL = ROWS * COLUMNS
SIZE = KERNEL + BIAS
RATE, RATIO = 0.1, 0.05
TOP_K, DGC, SIGN, POWER = "topk:0.05", "dgc:0.05", "sign", "powersgd:2,start=0"
START = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
SPEC = GroupSpec(
    algorithm="asgd",
    optimizer={"class_name": "SGD", "config": {}},
    variables=(("kernel", (ROWS, COLUMNS)), ("bias", (BIAS,))),
    dtype="float32",
    wire="float32",
)


class Counted(LocalTransport):
    """Counts the bytes of pushes, and of what answers them."""

    pushed = answered = 0

    def call_all(self, messages, into):
        answers = super().call_all(messages, into)
        self.pushed += np.asarray(messages[0].payload).nbytes
        self.answered += np.asarray(answers[0].payload).nbytes
        return answers


class Job:
    """Workers and a server in one process."""

    def __init__(
        self,
        workers=2,
        row="asgd",
        wire=TOP_K,
        answered=RATIO,
        returned="",
        controller=rules.CONTROLLERS["asp"],
        **momentum,
    ):
        def make(spec, params):
            return ShardServer(
                params,
                rules.update(row, params, workers),
                controller,
                workers,
                RATE,
                returned=WIRE_TYPES[spec.returned or spec.dtype],
                answered=spec.answered,
            )

        self.service = Service(workers, make)
        inbox = []
        self.vectors, self.ways = [], []
        spec = dataclasses.replace(
            SPEC, compression=wire, answered=answered, returned=returned
        )
        for worker in range(workers):
            transport = Counted([self.service], lambda: 0.0, inbox)
            chosen = wire and Specification.parse(wire)
            vector = ShardedVector(
                *(transport, worker, 0, [KERNEL, BIAS], "float32", "float32", returned),
                compressor=factory.compressor(chosen, spec.layout, **momentum)
                if chosen
                else None,
            )
            vector.open(spec, START)
            transport.pushed = transport.answered = 0
            self.vectors.append(vector)
            self.ways.append(transport)

    @property
    def server(self):
        return self.service.groups[0]

    def push(self, worker, gradient):
        self.vectors[worker].push(
            [Dense(0, gradient[:-BIAS]), Dense(KERNEL, gradient[-BIAS:])]
        )

    def kept(self, worker):
        """What has not been sent."""
        state = self.vectors[worker]._compressor.state
        return next(state[n] for n in ("residual", "error", "unsent") if n in state)

    def known(self, worker):
        return self.server.progress[worker].pulled.params


def drawn(steps, seed=1):
    shape = (steps, SIZE)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def same_bits(one, other):
    return one.tobytes() == other.tobytes()


@pytest.mark.parametrize("wire", [TOP_K, DGC])
@pytest.mark.parametrize("row", ["asgd", "asgd momentum", "dc-asgd-a", "ddc-asgd"])
def test_the_server_knows_what_each_worker_has(row, wire):
    job = Job(3, row, wire, momentum=0.9) if wire == DGC else Job(3, row, wire)
    order = np.random.default_rng(2).integers(0, 3, 60)
    for worker, gradient in zip(order, drawn(60)):
        job.push(worker, gradient)
        vector = job.vectors[worker]
        assert same_bits(vector.params, job.known(worker))
    for vector in job.vectors:
        assert not same_bits(vector.params, job.server.params)


# --- Beside scalar references ---------------------------------------------------------


def chosen(values, count):
    return sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:count]


@pytest.mark.parametrize(
    ("wire", "momentum", "nesterov"),
    [(TOP_K, 0.0, False), (DGC, 0.9, False), (DGC, 0.9, True)],
)
def test_numbers_are_those_of_a_scalar_reference(wire, momentum, nesterov):
    """Elements one after the other, in float32 as the job has them."""
    job = Job(2, wire=wire, momentum=momentum, nesterov=nesterov)
    params = list(START)
    has = [list(START), list(START)]
    rest = [[np.float32(0)] * SIZE, [np.float32(0)] * SIZE]
    speed = [[np.float32(0)] * SIZE, [np.float32(0)] * SIZE]
    rate, m = np.float32(RATE), np.float32(momentum)
    sparse = math.ceil(RATIO * KERNEL)
    for step, gradient in enumerate(drawn(15)):
        worker = step * step % 3 % 2
        job.push(worker, gradient)
        speed[worker] = [m * u + g for u, g in zip(speed[worker], gradient)]
        own = speed[worker]
        if nesterov:
            own = [m * u + g for u, g in zip(own, gradient)]
        waiting = [r + u for r, u in zip(rest[worker], own)]
        sent = chosen(waiting[:KERNEL], sparse)
        for i in sent:
            speed[worker][i] = np.float32(0)
        for i in [*sent, *range(KERNEL, SIZE)]:  # small variables go whole
            params[i] = params[i] - rate * waiting[i]
            waiting[i] = np.float32(0)
        rest[worker] = waiting
        differs = [p - h for p, h in zip(params, has[worker])]
        for i in chosen(differs, sparse + BIAS):
            has[worker][i] = params[i]
        np.testing.assert_allclose(job.server.params, params, rtol=1e-5, atol=1e-6)
        found = job.vectors[worker].params
        np.testing.assert_allclose(found, has[worker], rtol=1e-5, atol=1e-6)


def test_signs_are_those_of_a_scalar_reference():
    job = Job(2, wire=SIGN, answered=0.0, returned="bfloat16")
    params = [float(p) for p in START]
    rest = [[0.0] * KERNEL, [0.0] * KERNEL]
    for step, gradient in enumerate(drawn(12)):
        worker = step * step % 3 % 2
        job.push(worker, gradient)
        waiting = [r + float(g) for r, g in zip(rest[worker], gradient)]
        scale = sum(abs(w) for w in waiting) / KERNEL
        sent = [scale if w >= 0 else -scale for w in waiting]
        rest[worker] = [w - s for w, s in zip(waiting, sent)]
        for i, g in enumerate([*sent, *gradient[KERNEL:]]):
            params[i] -= RATE * float(g)
        np.testing.assert_allclose(job.server.params, params, rtol=1e-4, atol=1e-5)
        found = job.vectors[worker].params
        narrow = job.server.params.astype(ml_dtypes.bfloat16)
        assert same_bits(found, narrow.astype(np.float32))
        assert same_bits(job.known(worker), narrow)  # what corrections start from


def test_matrices_are_those_of_a_scalar_reference():
    """Gram and Schmidt, for each worker with an error and a Q of its own."""
    job = Job(2, wire=POWER, answered=0.0)
    params = START.astype(float)
    first_q = np.random.default_rng(0).standard_normal((COLUMNS, 2))
    seconds, errors = [first_q, first_q], [np.zeros((ROWS, COLUMNS))] * 2
    for step, gradient in enumerate(drawn(12)):
        worker = step * step % 3 % 2
        job.push(worker, gradient)
        matrix = errors[worker] + gradient[:KERNEL].reshape(ROWS, COLUMNS)
        columns = []
        for column in (matrix @ seconds[worker]).T:
            for other in columns:
                column = column - (column @ other) * other
            columns.append(column / np.linalg.norm(column))
        first = np.array(columns).T
        seconds[worker] = matrix.T @ first
        applied = first @ seconds[worker].T
        errors[worker] = matrix - applied
        params[:KERNEL] -= RATE * applied.reshape(-1)
        params[KERNEL:] -= RATE * gradient[KERNEL:]
        np.testing.assert_allclose(job.server.params, params, rtol=1e-3, atol=1e-4)


# --- What is sent, kept and lost ------------------------------------------------------


@pytest.mark.parametrize("wire", [TOP_K, DGC, SIGN, POWER])
def test_nothing_of_a_gradient_is_lost(wire):
    job = Job(2, wire=wire)
    gradients = np.random.default_rng(3).integers(-9, 9, (30, SIZE))
    for step, gradient in enumerate(gradients):
        job.push(step % 2, gradient.astype(np.float32))
    rest = job.kept(0) + job.kept(1)
    moved = (START - job.server.params) / RATE
    np.testing.assert_allclose(moved + rest, gradients.sum(0), atol=2e-3)
    assert np.abs(rest[:KERNEL]).max() > 5
    assert not rest[KERNEL:].any()  # small variables go whole


def test_what_a_lost_worker_kept_is_lost_and_no_more():
    job = Job(2)
    gradients = np.random.default_rng(3).integers(-9, 9, (20, SIZE))
    for step, gradient in enumerate(gradients):
        if step == 10:
            job.service.lose(0, 0.0)
        job.push(step % 2 if step < 10 else 1, gradient.astype(np.float32))
    moved = (START - job.server.params) / RATE
    missing = gradients.sum(0) - job.kept(1) - moved
    np.testing.assert_allclose(missing, job.kept(0), atol=2e-3)
    assert np.abs(missing).max() > 5


class Drops(Asynchronous):
    """Uses no gradient."""

    def decide(self, ledger, state, *, now_s):
        return Decision((), ledger.waiting, ledger.held), state


def test_of_a_gradient_that_is_dropped_what_was_sent_is_lost():
    gradient = drawn(1)[0]
    job, kept = Job(1, controller=Drops()), Job(1)
    job.push(0, gradient)
    kept.push(0, gradient)
    assert same_bits(job.server.params, START)
    assert same_bits(job.kept(0), kept.kept(0))
    assert np.count_nonzero(job.kept(0)) == KERNEL - math.ceil(RATIO * KERNEL)


def test_workers_come_to_what_the_server_has():
    job = Job(2, answered=0.2)
    for step, gradient in enumerate(drawn(10)):
        job.push(step % 2, gradient)
    for _ in range(40):  # until all that was kept is sent, and answered
        job.push(0, np.zeros(SIZE, np.float32))
    assert same_bits(job.vectors[0].params, job.server.params)
    assert not job.kept(0).any()


@pytest.mark.parametrize("wire", [TOP_K, DGC, SIGN, POWER])
def test_a_gradient_that_is_refused_leaves_no_trace(wire):
    job = Job(1, wire=wire)
    job.push(0, drawn(1)[0])
    state = job.vectors[0]._compressor.state
    before = {name: values.copy() for name, values in state.items()}
    params = job.vectors[0].params.copy()
    bad = drawn(1, seed=5)[0]
    for place, variable in ((17, range(KERNEL)), (SIZE - 2, range(KERNEL, SIZE))):
        for value in (np.inf, -np.inf, np.nan):
            broken = bad.copy()
            broken[place] = value
            with pytest.raises(NotFinite) as caught:
                job.push(0, broken)
            assert caught.value.element in variable  # it is named
            for name, values in before.items():
                assert same_bits(state[name], values)
            assert same_bits(job.vectors[0].params, params)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (TOP_K, 60 * 8 + BIAS * 4),
        (DGC, 60 * 8 + BIAS * 4),
        (SIGN, KERNEL // 8 + 4 + BIAS * 4),
        (POWER, 2 * (ROWS + COLUMNS) * 4 + BIAS * 4),
        ("topk:0.6", SIZE * 4),  # places and values would be more
        ("dgc:1", SIZE * 4),
    ],
)
def test_no_more_is_sent_than_is_said(wire, expected):
    job = Job(1, wire=wire)
    job.push(0, drawn(1)[0])
    assert job.ways[0].pushed == expected
    found = job.vectors[0]._compressor.message_bytes()
    assert found == expected or expected == SIZE * 4 <= found


@pytest.mark.parametrize(
    ("answered", "expected"), [(RATIO, 70 * 8), (0.1, 121 * 8), (0.6, SIZE * 4)]
)
def test_the_answer_has_what_was_sent_at_least(answered, expected):
    job = Job(1, answered=answered)
    job.push(0, drawn(1)[0])
    assert job.ways[0].answered == expected
    job.vectors[0]._compressor.density = 0.2  # as in a warm-up
    job.push(0, drawn(1)[0])
    assert job.ways[0].answered == expected + max(expected, 250 * 8)


def test_first_steps_may_be_dense():
    dense, job = Job(1, wire="", answered=0.0), Job(1, wire="powersgd:2,start=3")
    for step, gradient in enumerate(drawn(4)):
        for one in (dense, job):
            one.push(0, gradient)
        assert same_bits(job.server.params, dense.server.params) == (step < 3)
        assert job.kept(0).any() == (step == 3)


# --- Limits ---------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["topk:1", "dgc:1", "powersgd:30,start=0"])
def test_everything_is_the_dense_way(wire):
    whole = Job(2, "dc-asgd-a", wire, 1.0)
    dense = Job(2, "dc-asgd-a", "", 0.0)
    for step, gradient in enumerate(drawn(20)):
        for job in (whole, dense):
            job.push(step % 2, gradient)
        assert same_bits(whole.vectors[step % 2].params, dense.vectors[step % 2].params)


def test_signs_of_equal_magnitudes_are_the_dense_way():
    whole, dense = Job(2, wire=SIGN, answered=0.0), Job(2, wire="", answered=0.0)
    for step, gradient in enumerate(drawn(20)):
        gradient[:KERNEL] = np.sign(gradient[:KERNEL]) * (step + 1)
        for job in (whole, dense):
            job.push(step % 2, gradient)
    np.testing.assert_allclose(whole.server.params, dense.server.params, rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_of_one_worker_all_elements_and_momentum_are_momentum_sgd(nesterov):
    row = "asgd nesterov" if nesterov else "asgd momentum"
    own = Job(1, "asgd", "dgc:1", 1.0, momentum=0.9, nesterov=nesterov)
    theirs = Job(1, row, "", 0.0)
    for gradient in drawn(20):
        for job in (own, theirs):
            job.push(0, gradient)
    found, expected = own.server.params, theirs.server.params
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# --- Corrections ----------------------------------------------------------------------


@pytest.mark.parametrize("row", ["dc-asgd-c", "dc-asgd-a", "ddc-asgd"])
def test_corrections_are_of_what_was_sent(row):
    job = Job(2, row)
    for step, gradient in enumerate(drawn(20)):
        before = job.server.params.copy()
        job.push(step % 2, gradient)
        moved = job.server.params != before
        assert 0 < np.count_nonzero(moved) <= math.ceil(RATIO * KERNEL) + BIAS
        assert not moved[(job.kept(step % 2) != 0)].any()


def test_a_mean_square_is_of_gradients_that_had_the_element():
    """DC-ASGD-a beside its formulas, element by element where one was sent."""
    job = Job(2, "dc-asgd-a")
    rule = job.server.update.correction
    mean, params = np.zeros(SIZE), START.astype(float)
    pulled = [params.copy(), params.copy()]
    for step, gradient in enumerate(drawn(16)):
        worker = step * step % 3 % 2
        waiting = job.kept(worker) + gradient
        job.push(worker, gradient)
        sent = np.flatnonzero(job.kept(worker) == 0)
        assert len(sent) == 70
        for i in sent:
            g = float(waiting[i])
            mean[i] = rule.decay * mean[i] + (1 - rule.decay) * g * g
            strength = rule.strength / math.sqrt(mean[i] + rule.epsilon)
            term = strength * g * g * (params[i] - pulled[worker][i])
            params[i] -= RATE * (g + term)
        np.testing.assert_allclose(job.server.params, params, rtol=1e-3, atol=1e-4)
        params = job.server.params.astype(float)
        pulled[worker] = job.vectors[worker].params.astype(float)


# --- Pulls, and values from elsewhere -------------------------------------------------


def test_all_parameters_may_answer_a_part_of_a_gradient():
    job = Job(2, answered=0.0)
    for step, gradient in enumerate(drawn(6)):
        job.push(step % 2, gradient)
        assert same_bits(job.vectors[step % 2].params, job.server.params)


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
    values = np.ones((4, COLUMNS), np.float32)
    rows = Rows(0, COLUMNS, np.array([3, 5, 8, 9]), values)
    job.vectors[0].push([rows, Dense(KERNEL, np.zeros(BIAS, np.float32))])
    moved = np.flatnonzero(job.server.params != START)
    expected = [*range(90, 120), *range(150, 180)]  # 5 % of 1200, the first ones
    assert moved.tolist() == expected
    assert np.count_nonzero(job.kept(0)) == 60


# --- Bytes ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", WIRE_TYPES.values(), ids=str)
def test_elements_come_back(dtype):
    sent = Elements(np.array([7, 0, 3], np.int32), np.array([1.5, -2, 0.25], dtype))
    payload = sent.pack()
    assert payload.nbytes == 3 * (4 + dtype.itemsize)
    places, values = elements.unpack(payload.tobytes(), 8, dtype)
    assert places.tolist() == [7, 0, 3]
    assert values.dtype == dtype and values.tolist() == sent.values.tolist()


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


@pytest.mark.parametrize("wire", [TOP_K, DGC, SIGN, POWER])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_reader_has_what_a_compressor_sends(wire, dtype):
    layout = Layout(
        ((50, 40), (7,), (30, 3), (3, 3, 20, 9)), (False, True, True, False)
    )
    made = factory.compressor(Specification.parse(wire), layout, dtype=dtype)
    gradient = np.random.default_rng(4).normal(size=layout.size).astype(dtype)
    for _ in range(2):
        message = made.encode(gradient)
        total, found = np.zeros(layout.size, dtype), np.ones(layout.size, dtype)
        made.add(message, total)
        reader = Reader(Specification.parse(wire), layout, np.dtype(dtype))
        reader.read(memoryview(factory.packed(message)), found)
        assert same_bits(found, total)
        for start, stop in layout.wholes:
            assert same_bits(found[start:stop], gradient[start:stop])
        made.commit(gradient, message)


@pytest.mark.parametrize("wire", [TOP_K, SIGN, POWER])
def test_what_is_no_message_is_refused(wire):
    layout = Layout(((50, 40), (7,)), (False, True))
    reader = Reader(Specification.parse(wire), layout, np.dtype(np.float32))
    total = np.zeros(layout.size, np.float32)
    with pytest.raises(ValueError, match=r"of these variables\. Received: 3 bytes"):
        reader.read(memoryview(b"abc"), total)


@pytest.mark.parametrize("place", [-1, 2007])
def test_places_beyond_the_vector_are_refused(place):
    layout = Layout(((50, 40), (7,)), (False, True))
    reader = Reader(Specification.parse(TOP_K), layout, np.dtype(np.float32))
    message = np.array([place], np.int32), np.ones(8, np.float32)
    with pytest.raises(ValueError, match=f"places {place} to {place} in a vector"):
        reader.read(memoryview(factory.packed(message)), np.zeros(2007, np.float32))


# --- Options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"wire": "topk"}, r"start=STEPS\], sign\. Received: wire='topk'\. Write own"),
        ({"wire": "dgc"}, r"dgc:RATIO\[,warmup=EPOCHS\|Nsteps\]"),
        ({"wire": "topk:0"}, r"topk:RATIO, .*Received: wire='topk:0'"),
        ({"wire": "sign:4"}, r"sign\. Received: wire='sign:4'"),
        ({"wire": "powersgd:0"}, r"powersgd:RANK"),
        *(
            (
                {"wire": wire, "servers": 2, "algorithm": "asgd"},
                r"one server takes a part of a gradient\. Received: .*servers=2",
            )
            for wire in (TOP_K, DGC, SIGN, POWER)
        ),
        *(
            ({"wire": wire, "local_steps": 4}, r"not what local steps have come to")
            for wire in (TOP_K, DGC, SIGN, POWER)
        ),
        ({"wire": "sign", "algorithm": "easgd"}, r"Use a type such as bfloat16"),
        ({"wire": DGC, "consistency": "local:4"}, r"Use a type such as bfloat16"),
        (
            {"wire": DGC, "algorithm": "gap-aware"},
            r"most have nothing of an element\. Received: .*--algorithm dc-asgd-a",
        ),
    ],
)
def test_what_cannot_be_sent_in_part_is_refused(chosen, message):
    with pytest.raises(ValueError, match=message) as caught:
        Options(**chosen)
    assert "\n" not in str(caught.value)


def test_what_can_is_not():
    Options(wire="sign", algorithm="gap-aware")
    Options(wire="dgc:0.001,warmup=500steps", consistency="ssp:3", overlap=True)
    Options(wire="powersgd:4", consistency="bsp", algorithm="dana-slim")
