"""The algebra of the methods: where one is another."""

import dataclasses

import numpy as np
import pytest

from nfdt.algorithms import Algorithm, ddc_asgd, find
from nfdt.protocol.controllers import Asynchronous, BulkSynchronous, StaleSynchronous
from nfdt.protocol.shard_server import ShardServer
from nfdt.rules.averaging import DelayMomentum, FixedDelayMomentum
from nfdt.rules.corrections import NoCorrection
from nfdt.rules.delay_compensation import DelayCompensation
from nfdt.rules.optimizers import Sgd
from nfdt.rules.updates import BlockUpdate
from tests import problems
from tests.nfdt import references
from tests.nfdt.rules import ROWS, push, schedule, server
from tests.nfdt.virtual_time import Workers

SIZE = 7
START = np.linspace(-2, 2, SIZE)
PROBLEM = problems.quadratic(SIZE, condition=10)


def shard(correction, optimizer, controller=Asynchronous(), workers=3, rate=0.1):  # noqa: B008
    params = START.copy()
    rule = BlockUpdate(correction, optimizer, params, workers)
    return ShardServer(params, rule, controller, workers, rate)


def train(made, pace=(1.0, 1.7, 2.9), pushes=20):
    """Returns where workers of these paces, who all descend, lead."""
    workers = Workers(
        made,
        lambda worker: pace[worker],
        pushes,
        gradient=lambda worker, params: PROBLEM.gradient(params),
    )
    return workers.run(), made.params


@pytest.mark.parametrize("row", ["asgd", "dc-asgd-c", "dc-asgd-a", "ddc-asgd", "easgd"])
def test_training_is_repeated_to_the_bit(row):
    one = train(server(row, START))
    other = train(server(row, START))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("row", [r for r in ROWS if r not in ("easgd",)])
def test_one_worker_is_plain_sgd(row):
    _, momentum, nesterov = ROWS[row]
    _, found = train(server(row, START, 1), pushes=30)
    _, plain = train(
        shard(NoCorrection(), Sgd(momentum, nesterov), workers=1), pushes=30
    )
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)]
)
@pytest.mark.parametrize("rule", [DelayMomentum(), DelayMomentum(q=3, caution=4.0)])
def test_ddc_asgd_without_delay_is_sgd(rule, momentum, nesterov):
    """One of three workers pushes alone: nothing is ever late."""
    rule = dataclasses.replace(rule, momentum=momentum, nesterov=nesterov)
    late = shard(NoCorrection(), rule)
    plain = shard(NoCorrection(), Sgd(momentum, nesterov))
    for _, gradient in schedule(0, 30, SIZE):
        push(late, 0, gradient)
        push(plain, 0, gradient)
    np.testing.assert_array_equal(late.params, plain.params)


@pytest.mark.parametrize("num_workers", [2, 3, 8])
def test_ddc_asgd_at_constant_delay_is_dc_asgdk(num_workers):
    fixed = shard(NoCorrection(), FixedDelayMomentum(), workers=num_workers)
    rule = ddc_asgd(terms="momentum", q=1)
    made = shard(rule.correction, rule.optimizer, workers=num_workers)
    pushes = [g for _, g in schedule(0, 10 * num_workers, SIZE)]
    # In turn, every gradient is M - 1 late, but for those of the first round.
    for turn, gradient in enumerate(pushes):
        worker = turn % num_workers
        for one in (fixed, made):
            push(one, worker, gradient)
            if turn == num_workers - 1:  # from here on the delay is constant
                one.params[...] = 0
                one.update.state()["rule"].running[...] = 0
    taus = {e.staleness for e in made.records.events[num_workers:]}
    assert taus == {num_workers - 1}
    np.testing.assert_array_equal(made.params, fixed.params)


def test_dc_asgd_of_strength_0_is_asgd():
    steps, found = train(shard(DelayCompensation(strength=0), Sgd()))
    plain_steps, plain = train(shard(NoCorrection(), Sgd()))
    assert steps == plain_steps
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("row", [r for r in ROWS if ROWS[r][0].optimizer is None])
def test_under_a_barrier_corrections_do_nothing(row):
    momentum, nesterov = ROWS[row][1:]
    steps, found = train(server(row, START, 3, BulkSynchronous()))
    _, plain = train(shard(NoCorrection(), Sgd(momentum, nesterov), BulkSynchronous()))
    np.testing.assert_array_equal(found, plain)
    assert len({step.version for step in steps} - {None}) == 20


@pytest.mark.parametrize("row", ["asgd", "dc-asgd-a", "ddc-asgd"])
def test_ssp_of_a_huge_lead_is_asp(row):
    one = train(server(row, START, 3, Asynchronous()))
    other = train(server(row, START, 3, StaleSynchronous(max_lead=10**9)))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


def test_bsp_is_ssp_of_no_lead_at_a_rate_shared_by_the_workers():
    steps, found = train(shard(NoCorrection(), Sgd(), BulkSynchronous(), rate=0.3))
    ssp = shard(NoCorrection(), Sgd(), StaleSynchronous(max_lead=0), rate=0.1)
    ssp_steps, ssp_found = train(ssp)
    np.testing.assert_allclose(found, ssp_found, rtol=1e-12)
    assert len(steps) == len(ssp_steps)


def test_bsp_of_equal_workers_is_one_of_them():
    _, found = train(shard(NoCorrection(), Sgd(0.9), BulkSynchronous()))
    _, alone = train(shard(NoCorrection(), Sgd(0.9), workers=1))
    np.testing.assert_allclose(found, alone, rtol=1e-12)


def test_dana_slim_sends_what_dana_zero_does():
    """Slim's parameters are Zero's look-ahead: its workers carry the momentum."""
    slim = server("dana-slim", START)
    zero = references.DanaZero(START, 3, lr=0.1, mu=0.9)
    carried = {worker: np.zeros(SIZE) for worker in range(3)}
    for worker, gradient in schedule(4, 60, SIZE):
        carried[worker] = 0.9 * carried[worker] + gradient
        push(slim, worker, gradient + 0.9 * carried[worker])
        zero.push(worker, gradient)
        np.testing.assert_allclose(slim.params, zero.ahead(), rtol=1e-10, atol=1e-12)


def test_easgd_draws_worker_and_server_together():
    made = server("easgd", START, 3)
    mine = START + 3.0
    push(made, 0, made.params - mine)
    np.testing.assert_allclose(made.params, START + 0.3 * 3.0)


@pytest.mark.parametrize("row", [r for r in ROWS if r not in ("dana-slim", "easgd")])
@pytest.mark.parametrize("make", [problems.quadratic, problems.logistic])
def test_every_rule_comes_to_the_optimum_at_a_small_rate(row, make):
    problem = make()
    start = np.zeros(
        problem.gradient(np.zeros(7 if make is problems.quadratic else 3)).size
    )
    made = server(row, start + 1.5, 3, rate=0.02)
    Workers(
        made,
        lambda worker: (1.0, 1.7, 2.9)[worker],
        600,
        gradient=lambda worker, params: problem.gradient(params),
    ).run()
    assert np.linalg.norm(problem.gradient(made.params)) < 0.02


def test_where_asgd_is_unstable_the_taylor_term_is_not():
    """Delay 7 on a quadratic: ASGD's limit of the rate is 0.209 over the curvature."""
    found = {}
    for name in ("asgd", "dc-asgd-c"):
        algorithm = find(name)
        if name == "dc-asgd-c":  # half the exact curvature, where g * g stands for it
            algorithm = dataclasses.replace(algorithm, correction=_HalfCurvature())
        made = _serve(algorithm, 8, rate=0.4)
        for turn in range(400):
            worker = turn % 8
            push(made, worker, made.progress[worker].pulled.params.copy())
        found[name] = abs(float(made.params[0]))
    assert found["asgd"] > 1e3
    assert found["dc-asgd-c"] < 1e-3


class _HalfCurvature(DelayCompensation):
    def correct(self, block, state, scalars, compute):
        del scalars, compute
        return block.gradient + 0.5 * (block.params - block.pulled), state


def _serve(algorithm: Algorithm, workers: int, rate: float) -> ShardServer:
    params = np.ones(1)
    rule = BlockUpdate(algorithm.correction, Sgd(), params, workers)
    made = ShardServer(params, rule, Asynchronous(), workers, rate)
    for worker in range(workers):
        made._params_for(worker)
    return made
