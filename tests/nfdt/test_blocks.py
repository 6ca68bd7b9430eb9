"""Blocks, lanes and arrays that are used again change no bit of an update."""

from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_server import ShardServer
from nfdt.rules import blocks
from nfdt.rules.blocks import Lanes, SpareArrays, anew, empty_like, zeros_like
from nfdt.rules.corrections import Push
from nfdt.rules.updates import BlockUpdate, Late
from tests.nfdt.rules import CONTROLLERS, ELEMENTWISE, ROWS, push, schedule, update

SIZE, BLOCK = 101, 8  # the last block is shorter
NUM_WORKERS = 3


class Anew(SpareArrays):
    """Makes a new array for each result, as plain NumPy does."""

    def __call__(self, operation, /, *operands):
        return anew(operation, *operands)


def trained(row, dtype, controller, lanes):
    """Returns parameters, states, and what each worker was sent, after some pushes."""
    start = np.linspace(-2, 2, SIZE).astype(dtype)
    plain = update(row, start, NUM_WORKERS)
    rule = BlockUpdate(plain.correction, plain.optimizer, start, NUM_WORKERS, lanes)
    made = ShardServer(start, rule, CONTROLLERS[controller], NUM_WORKERS, 0.1)
    for worker in range(NUM_WORKERS):
        made.handle(Message(Kind.PULL, worker), 0.0)
    for number, (worker, gradient) in enumerate(schedule(4, 24, SIZE)):
        turn = number % NUM_WORKERS if controller == "bsp" else worker
        push(made, turn, gradient.astype(dtype))
    arrays = [made.params, *(one.pulled.params for one in made.progress)]
    for state in made.update.state().values():
        arrays += [value for value in state if isinstance(value, np.ndarray)]
    return [array.copy() for array in arrays]


@pytest.mark.parametrize("controller", ["asp", "bsp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("row", ROWS)
def test_an_update_is_that_of_plain_numpy_to_the_bit(
    row, dtype, controller, monkeypatch
):
    monkeypatch.setattr(blocks, "LANE_ELEMENTS", BLOCK)
    whole = SIZE if row in ELEMENTWISE else BLOCK  # sums depend on the order
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", whole)
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "SpareArrays", Anew)
        plain = Lanes()
    expected = trained(row, dtype, controller, plain)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", BLOCK)
    with ThreadPoolExecutor(3) as pool:
        for lanes in (Lanes(), Lanes(3, pool.map)):
            found = trained(row, dtype, controller, lanes)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [0, 1, BLOCK, 5 * BLOCK, SIZE])
def test_each_block_is_visited_once_and_told_of_in_order(size, number, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", BLOCK)
    monkeypatch.setattr(blocks, "LANE_ELEMENTS", BLOCK)
    with ThreadPoolExecutor(number) as pool:
        lanes = Lanes(number, pool.map)
        found = lanes.visit(size, lambda block, compute: range(block.start, block.stop))
    assert [place for block in found for place in block] == list(range(size))


def test_a_small_vector_wakes_no_thread():
    lanes = Lanes(2, each=None)
    assert len(lanes.visit(2 * blocks.LANE_ELEMENTS - 1, lambda block, compute: 1)) > 1


def test_an_error_in_a_lane_is_that_of_the_visit(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", BLOCK)
    monkeypatch.setattr(blocks, "LANE_ELEMENTS", BLOCK)

    def fail(block, compute):
        raise KeyError(block.start)

    with ThreadPoolExecutor(2) as pool, pytest.raises(KeyError):
        Lanes(2, pool.map).visit(SIZE, fail)


@pytest.mark.parametrize("make", [empty_like, zeros_like])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("size", [0, 1, SIZE, 100_000])
def test_a_vector_begins_with_a_cache_line(make, dtype, size):
    found = make(np.ones(size, dtype))
    assert not size or found.ctypes.data % 64 == 0
    assert (found.shape, found.dtype) == ((size,), np.dtype(dtype))
    assert found.flags.c_contiguous
    if make is zeros_like:
        assert not found.any()


def test_arrays_are_used_again_for_the_next_block():
    compute = SpareArrays()
    ones = np.ones(BLOCK, np.float32)
    one, other = compute(np.add, ones, 1), compute(np.add, ones, 2)
    assert not np.shares_memory(one, other)
    compute.num_taken = 0
    assert np.shares_memory(compute(np.add, ones, 3), one)


def test_a_large_group_takes_no_more_arrays_than_a_small_one():
    params = np.linspace(-2, 2, SIZE)
    taken = []
    for size in (3, 20):
        lanes = Lanes()
        plain = update("dc-asgd-a", params)
        rule = BlockUpdate(plain.correction, plain.optimizer, params, 3, lanes)
        late = Late(Push(0, 3, 0.1), params[::-1].copy(), params + 1)
        rule.apply(params.copy(), [late] * size, 0.1)
        taken.append(len(lanes._computes[0]._arrays))
    assert taken[0] == taken[1]


@pytest.mark.parametrize("row", ROWS)
def test_copies_are_what_the_parameters_become(row):
    params, pulled = np.linspace(-2, 2, SIZE), np.linspace(2, -2, SIZE)
    made = update(row, params)
    late = Late(Push(0, 3, 0.1), np.ones(SIZE), pulled.copy())
    alone = params.copy()
    update(row, params).apply(alone, [late], 0.1)
    places = [late.pulled, np.empty(SIZE)]  # one of them is what is read
    made.apply(params, [late], 0.1, copies=places)
    for vector in (params, *places):
        np.testing.assert_array_equal(vector, alone)


def test_what_was_measured_is_what_would_be_measured_then():
    params, rng = np.linspace(-2, 2, SIZE), np.random.default_rng(0)
    one, other = update("ddc-asgd", params), update("ddc-asgd", params)
    late = Late(Push(0, 3, 0.1), rng.normal(size=SIZE), rng.normal(size=SIZE))
    known = late._replace(measured=one.measure(params, late))
    assert known.measured.is_finite
    assert len(known.measured.sums) == 2
    ours, theirs = params.copy(), params.copy()
    one.apply(ours, [known], 0.1)
    other.apply(theirs, [late], 0.1)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("staleness", [0, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("row", ["asgd", "ddc-asgd"])
def test_measuring_finds_what_is_not_finite_and_warns_nobody(row, value, staleness):
    params = np.zeros(SIZE, np.float32)
    gradient = np.ones(SIZE, np.float32)
    gradient[[5, 6]] = value
    late = Late(Push(0, staleness, 0.1), gradient, params + 1)
    with np.errstate(all="raise"):
        measured = update(row, params).measure(params, late)
    assert measured.is_finite == np.isfinite(value)


def test_a_fresh_gradient_is_looked_at_and_not_measured():
    params = np.zeros(SIZE)
    made = update("ddc-asgd", params)
    fresh = Late(Push(0, 0, 0.1), np.ones(SIZE), params)
    assert not len(made.measure(params, fresh).sums)
    made.apply(params, [fresh], 0.1)
    np.testing.assert_allclose(params, -0.1)
