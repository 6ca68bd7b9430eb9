"""Blocks, shards and saved states change nothing; one push changes what it should."""

import numpy as np
import pytest

from nfdt.algorithms import LOOKAHEAD
from nfdt.protocol import serialization, topology
from nfdt.protocol.controllers import BulkSynchronous
from nfdt.rules import blocks
from nfdt.rules.averaging import DelayMomentum
from nfdt.rules.corrections import NoCorrection, Push
from nfdt.rules.updates import BlockUpdate, Late
from tests.nfdt.references import REFERENCES
from tests.nfdt.rules import ELEMENTWISE, ROWS, push, schedule, server, update

SIZE = 11
START = np.linspace(-2, 2, SIZE)


def run(made, pushes):
    for worker, gradient in pushes:
        push(made, worker, gradient.astype(made.params.dtype))
    return made.params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_what_its_source_says(row, seed):
    algorithm, momentum, nesterov = ROWS[row]
    if algorithm.sends == LOOKAHEAD:
        momentum = 0.0  # it is the workers'
    made = server(row, START)
    mu = float(np.float32(momentum))  # so Keras keeps it
    reference = REFERENCES[row](START, 3, 0.1, mu, nesterov)
    for worker, gradient in schedule(seed, 130, SIZE):
        push(made, worker, gradient)
        reference.push(worker, gradient)
    assert max(reference.taus) > 3  # else nothing is tried
    np.testing.assert_allclose(made.params, reference.w, rtol=1e-9, atol=1e-12)


def test_every_row_has_a_reference():
    assert REFERENCES.keys() == ROWS.keys()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [1, 3, 4, SIZE, SIZE + 1])
@pytest.mark.parametrize("row", ELEMENTWISE)
def test_blocks_are_invisible(row, block, dtype, monkeypatch):
    pushes = schedule(0, 20, SIZE)
    whole = run(server(row, START.astype(dtype)), pushes)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", block)
    np.testing.assert_array_equal(run(server(row, START.astype(dtype)), pushes), whole)


@pytest.mark.parametrize("row", sorted(ROWS.keys() - set(ELEMENTWISE)))
def test_blocks_are_all_but_invisible_where_norms_are_summed(row, monkeypatch):
    pushes = schedule(0, 20, SIZE)
    whole = run(server(row, START), pushes)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 3)
    np.testing.assert_allclose(run(server(row, START), pushes), whole, rtol=1e-12)


@pytest.mark.parametrize("num_servers", [2, 3, 5])
@pytest.mark.parametrize("row", ELEMENTWISE)
def test_several_servers_are_one(row, num_servers):
    pushes = schedule(1, 25, SIZE)
    start = START.astype(np.float32)
    whole = run(server(row, start), pushes)
    parts = [
        run(server(row, start[a:b]), [(w, g[a:b]) for w, g in pushes])
        for a, b in topology.split(SIZE, num_servers)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_rules_that_use_norms_say_so():
    """If this fails, the rule has become elementwise: several servers may share it."""
    pushes = schedule(1, 25, SIZE)
    for row in ROWS.keys() - set(ELEMENTWISE):
        whole = run(server(row, START), pushes)
        part = run(server(row, START[:4]), [(w, g[:4]) for w, g in pushes])
        assert not np.allclose(part, whole[:4])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", ROWS)
def test_a_saved_state_goes_on_to_the_bit(row, dtype):
    made = server(row, START.astype(dtype))
    for worker, gradient in schedule(2, 15, SIZE):
        push(made, worker, gradient.astype(dtype))
    saved = serialization.dump(made.update.state())
    late = [
        Late(Push(0, 4, 0.05), g.astype(dtype), START.astype(dtype))
        for _, g in schedule(3, 5, SIZE)
    ]
    other = update(row, np.zeros(SIZE, dtype))
    other.load(serialization.load(saved))
    ours, theirs = made.params.copy(), made.params.copy()
    for one in late:
        made.update.apply(ours, [one], 0.05)
        other.apply(theirs, [one], 0.05)
    np.testing.assert_array_equal(ours, theirs)
    assert serialization.dump(other.state()) == serialization.dump(made.update.state())


@pytest.mark.parametrize("row", ROWS)
def test_a_group_is_corrected_one_by_one_and_then_averaged(row):
    """Two equal gradients of equal delay are one, for rules that count no pushes."""
    made = server(row, START, 2, BulkSynchronous())
    gradient = np.linspace(1, 2, SIZE)
    push(made, 0, gradient)
    push(made, 1, gradient)
    alone = server(row, START, 2)
    push(alone, 0, gradient)
    np.testing.assert_allclose(made.params, alone.params, rtol=1e-12)
    assert made.version == 1


def test_a_group_is_as_late_as_its_latest():
    gradient, params = np.ones(SIZE), np.zeros(SIZE)
    rule = BlockUpdate(NoCorrection(), DelayMomentum(q=2), params, 3)
    group = [
        Late(Push(worker, tau, 1.0), gradient, None) for worker, tau in [(0, 0), (1, 6)]
    ]
    rule.apply(params, group, 1.0)
    np.testing.assert_allclose(params, -2 / (6 + 2))


def test_a_group_that_adds_up_is_as_one_gradient():
    gradients, push = [START, START[::-1] + 2], Push(0, 0, 0.1)
    added, alone = START.copy(), START.copy()
    group = [Late(push, gradient, START) for gradient in gradients]
    update("asgd", START).apply(added, group, 0.1, adds_up=True)
    update("asgd", START).apply(alone, [Late(push, sum(gradients), START)], 0.1)
    np.testing.assert_array_equal(added, alone)


def test_inputs_of_an_update_stay():
    for row in ROWS:
        gradient, pulled = START.copy(), START[::-1].copy()
        rule = update(row, START)
        rule.apply(START.copy(), [Late(Push(0, 3, 0.1), gradient, pulled)], 0.1)
        np.testing.assert_array_equal(gradient, START)
        np.testing.assert_array_equal(pulled, START[::-1])
