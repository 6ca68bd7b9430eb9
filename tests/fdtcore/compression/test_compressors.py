"""Compressors beside scalar references, and what is true of all of them."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from fdtcore.compression.deep_gradient import DeepGradient
from fdtcore.compression.exchange import Alone
from fdtcore.compression.layout import BLOCK_ELEMENTS, Layout
from fdtcore.compression.power_sgd import PowerSGD
from fdtcore.compression.sign import Sign
from fdtcore.compression.top_k import TopK
from tests.fdtcore.compression.ranks import train

LAYOUT = Layout(((7, 9), (30, 4), (3, 3, 2, 5)))
KINDS = {
    "topk": functools.partial(TopK, LAYOUT, 0.05),
    "dgc": functools.partial(DeepGradient, LAYOUT, 0.05, 0.9),
    "nesterov": functools.partial(DeepGradient, LAYOUT, 0.05, 0.9, nesterov=True),
    "sign": functools.partial(Sign, LAYOUT),
    "powersgd": functools.partial(PowerSGD, LAYOUT, 2, 2),
}
WITH_FEEDBACK = ("topk", "sign", "powersgd")


def drawn(steps, ranks, layout=LAYOUT, seed=0):
    return np.random.default_rng(seed).standard_normal((steps, ranks, layout.size))


def whole(steps, ranks, seed=0):
    """Gradients of whole numbers, whose sums have no rounding."""
    drawn = np.random.default_rng(seed).integers(-99, 99, (steps, ranks, LAYOUT.size))
    return drawn.astype(float)


def chosen(waiting, count):
    """The indices of the largest magnitudes; of equal ones the first."""
    return sorted(range(len(waiting)), key=lambda i: (-abs(waiting[i]), i))[:count]


def reference(kind, gradients, density=0.05, momentum=0.9):
    """Returns the sums of all steps, element by element, as the papers say."""
    sums = []
    size = len(gradients[0])
    waits = [[0.0] * LAYOUT.size for _ in range(size)]
    speeds = [[0.0] * LAYOUT.size for _ in range(size)]
    for step in gradients:
        total = [0.0] * LAYOUT.size
        for rank, gradient in enumerate(step):
            wait, speed = waits[rank], speeds[rank]
            for i, g in enumerate(gradient):
                if kind == "topk" or kind == "sign":
                    wait[i] += g
                elif kind == "dgc":
                    speed[i] = momentum * speed[i] + g
                    wait[i] += speed[i]
                else:  # as the authors' code has it
                    speed[i] = momentum * (speed[i] + g)
                    wait[i] += speed[i] + g
            for start, stop in LAYOUT.ranges:
                if kind == "sign":
                    scale = sum(abs(w) for w in wait[start:stop]) / (stop - start)
                    for i in range(start, stop):
                        sent = scale if wait[i] >= 0 else -scale
                        total[i] += sent
                        wait[i] -= sent
                    continue
                count = math.ceil(density * (stop - start))
                for i in chosen(wait[start:stop], count):
                    total[start + i] += wait[start + i]
                    wait[start + i] = speed[start + i] = 0.0
        sums.append(total)
    return np.array(sums)


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("kind", ["topk", "dgc", "nesterov", "sign"])
def test_sums_are_those_of_a_scalar_reference(kind, ranks):
    gradients = drawn(12, ranks)
    _, found = train(functools.partial(KINDS[kind], dtype=float), gradients)
    np.testing.assert_allclose(found[0], reference(kind, gradients), atol=1e-12)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_all_ranks_agree_to_the_bit(kind, dense):
    gradients = drawn(8, 4).astype(np.float32)
    _, found = train(KINDS[kind], gradients, dense=dense)
    assert found[0][0].dtype == np.float32
    for other in found[1:]:
        assert np.array_equal(found[0], other)


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_does_not_change_what_is_sent(kind):
    gradients = drawn(8, 3)
    makes = functools.partial(KINDS[kind], dtype=float)
    _, found = train(makes, gradients)
    _, dense = train(makes, gradients, dense=True)
    np.testing.assert_allclose(found[0], dense[0], atol=1e-12)


@pytest.mark.parametrize("kind", WITH_FEEDBACK)
def test_nothing_is_lost_with_error_feedback(kind):
    gradients = drawn(15, 3)
    compressors, found = train(functools.partial(KINDS[kind], dtype=float), gradients)
    sent = np.sum(found[0], 0)
    kept = sum(one for c in compressors for one in c.state.values())
    np.testing.assert_allclose(sent + kept, gradients.sum((0, 1)), atol=1e-10)
    assert np.abs(kept).max() > 0.1


def test_nothing_is_lost_exactly():
    gradients = whole(15, 3)
    compressors, found = train(functools.partial(KINDS["topk"], dtype=float), gradients)
    kept = sum(one.state["residual"] for one in compressors)
    assert np.array_equal(np.sum(found[0], 0) + kept, gradients.sum((0, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_is_not_finite_changes_nothing(kind):
    gradients = drawn(6, 2)
    makes = functools.partial(KINDS[kind], dtype=float)
    _, expected = train(makes, gradients)
    for bad in (np.nan, np.inf, -np.inf):
        broken = np.insert(gradients, 4, gradients[3], 0)
        broken[4, 1, 40] = bad
        for dense in (False, True):
            _, found = train(makes, broken, dense=dense)
            for sums in found:
                assert np.isnan(sums[4]).all()
                np.testing.assert_allclose(
                    np.delete(sums, 4, 0), expected[0], atol=1e-12
                )


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_where_its_state_was_taken(kind):
    gradients = drawn(9, 2)
    makes = functools.partial(KINDS[kind], dtype=float)
    _, expected = train(makes, gradients)
    before, _ = train(makes, gradients[:5])
    kept = iter(before)

    def going_on():
        one, left = makes(), next(kept)
        for name, values in left.state.items():
            one.state[name][...] = values
        for name, values in left.shared.items():
            one.shared[name][...] = values
        return one

    _, found = train(going_on, gradients[5:])
    assert np.array_equal(found[0], expected[0][5:])


@pytest.mark.parametrize("kind", ["topk", "dgc", "nesterov"])
def test_momentum_sgd_is_the_limit(kind):
    makes = {
        "topk": functools.partial(TopK, LAYOUT, 1.0, dtype=float),
        "dgc": functools.partial(DeepGradient, LAYOUT, 1.0, 0.9, dtype=float),
        "nesterov": functools.partial(
            DeepGradient, LAYOUT, 1.0, 0.9, nesterov=True, dtype=float
        ),
    }
    gradients = drawn(10, 3)
    _, found = train(makes[kind], gradients)
    velocity, expected = np.zeros(LAYOUT.size), []
    for gradient in gradients.sum(1):
        velocity = 0.9 * velocity + gradient
        steps = {
            "topk": gradient,
            "dgc": velocity,
            "nesterov": gradient + 0.9 * velocity,
        }
        expected.append(steps[kind])
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_signs_of_equal_magnitudes_are_dense():
    signs = np.sign(drawn(6, 1))
    scales = np.concatenate([np.full(b - a, a + 2.0) for a, b in LAYOUT.ranges])
    (compressor,), found = train(functools.partial(Sign, LAYOUT, float), signs * scales)
    np.testing.assert_allclose(found[0], (signs * scales)[:, 0], rtol=1e-12)
    assert np.abs(compressor.state["residual"]).max() < 1e-12


def test_matrices_of_low_rank_are_dense():
    def low(shape, rng):
        rows, columns = math.prod(shape[:-1]), shape[-1]
        thin = rng.standard_normal((rows, 2)), rng.standard_normal((2, columns))
        return (thin[0] @ thin[1]).reshape(-1)

    rng = np.random.default_rng(0)
    shapes = ((40, 30), (3, 3, 4, 16))
    gradients = np.array(
        [[np.concatenate([low(s, rng) for s in shapes])] for _ in range(5)]
    )
    makes = functools.partial(PowerSGD, Layout(shapes), 2, dtype=float)
    _, found = train(makes, gradients)
    np.testing.assert_allclose(found[0], gradients[:, 0], atol=1e-9)
    full = functools.partial(PowerSGD, Layout(shapes), 30, dtype=float)
    _, found = train(full, drawn(3, 2, Layout(shapes)))
    expected = drawn(3, 2, Layout(shapes)).sum(1)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_power_iteration_is_that_of_the_paper():
    layout, rank = Layout(((12, 10),)), 3
    gradients = drawn(6, 2, layout)
    _, found = train(functools.partial(PowerSGD, layout, rank, dtype=float), gradients)
    second = np.random.default_rng(0).standard_normal((10, rank))
    errors = np.zeros((2, 12, 10))
    for step, gradient in enumerate(gradients):
        matrices = [g.reshape(12, 10) + e for g, e in zip(gradient, errors)]
        mean = sum(matrices) / 2
        first = []
        for column in (mean @ second).T:  # Gram and Schmidt
            for other in first:
                column = column - (column @ other) * other
            first.append(column / np.linalg.norm(column))
        first = np.array(first).T
        second = mean.T @ first
        applied = first @ second.T
        errors = np.array([m - applied for m in matrices])
        np.testing.assert_allclose(
            found[0][step].reshape(12, 10), 2 * applied, atol=1e-9
        )


def test_a_dense_start_leaves_no_error():
    gradients = drawn(2, 2)
    compressors, found = train(
        functools.partial(KINDS["powersgd"], dtype=float), gradients
    )
    np.testing.assert_allclose(found[0], gradients.sum(1), atol=1e-12)
    assert not compressors[0].state["error"].any()


def test_messages_are_as_long_as_they_say():
    layout = Layout(((100, 100), (1000,)))
    counts = {
        TopK(layout, 0.01): 110 * 8,
        DeepGradient(layout, 0.01, 0.9): 110 * 8,
        Sign(layout): 11000 // 8 + 2 * 4,
    }
    gradient = drawn(1, 1, layout)[0, 0].astype(np.float32)
    for compressor, expected in counts.items():
        sent = compressor.encode(gradient)
        assert compressor.message_bytes() == sum(a.nbytes for a in sent) == expected
    # A vector that is one column is not compressed.
    power = PowerSGD(layout, 4, 1)
    assert power.message_bytes() == 11000 * 4
    power.reduce(gradient, Alone(), dense=False)
    assert power.message_bytes() == (4 * 200 + 1000) * 4


def test_each_variable_sends_something():
    compressor = TopK(LAYOUT, 1e-6)
    gradient = drawn(1, 1)[0, 0].astype(np.float32)
    total = compressor.reduce(gradient, Alone(), dense=False)
    sent = [np.count_nonzero(total[a:b]) for a, b in LAYOUT.ranges]
    assert sent == [1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_join(kind):
    layout = Layout(((2 * BLOCK_ELEMENTS + 3, 1), (BLOCK_ELEMENTS, 2)))
    whole = KINDS[kind].func
    more = {"topk": (0.001,), "dgc": (0.001, 0.9), "nesterov": (0.001, 0.9)}
    args = more.get(kind, () if kind == "sign" else (2,))
    gradient = drawn(1, 1, layout)[0, 0]
    compressor = whole(layout, *args, dtype=float)
    total = compressor.reduce(gradient, Alone(), dense=False)
    kept = compressor.state.get("residual", compressor.state.get("error"))
    if kept is None:
        kept = compressor.state["unsent"]
    np.testing.assert_allclose(total + kept, gradient, atol=1e-10)
