"""One run: a function of its settings, and the algorithm that it says it is."""

import dataclasses

import numpy as np
import pytest

from benchmarks.papers import data, records, running
from benchmarks.papers.batches import batches
from benchmarks.papers.clusters import cluster
from benchmarks.papers.contenders import CONTENDERS, DEFAULT
from benchmarks.papers.objective import objective
from benchmarks.papers.training import train
from tests.benchmarks.papers.made_up_runs import run

pytestmark = pytest.mark.usefixtures("small_data")


def result(run):
    return train(run)._replace(seconds=0.0)


def test_equal_settings_give_equal_results_and_another_seed_others():
    one = run(algorithm=DEFAULT, times="exponential", steps=12, looks=3)
    found = result(one)
    assert found == result(one)
    assert found.accuracies != result(dataclasses.replace(one, seed=1)).accuracies
    assert len(found.accuracies) == len(found.losses) == 3
    assert found.accuracy == found.accuracies[-1]


def test_one_worker_is_sgd_step_by_step():
    """The rate falls to a tenth after the share of the steps that the run says."""
    one = run(workers=1, steps=10, drops=(0.5,))
    goal = objective(one.work)
    params = goal.first(one.seed)
    found = batches(goal.work, goal.data, one.seed)
    for step in range(10):
        rate = 0.1 if step < 5 else 0.01
        params = params - np.float32(rate) * goal.gradient(params, *next(found))[1]
    assert train(one).loss == pytest.approx(goal.score(params).loss, rel=1e-6)


@pytest.mark.parametrize("name", [n for n, c in CONTENDERS.items() if not c.momentum])
def test_with_one_worker_all_algorithms_are_the_same(name):
    alone = result(run(workers=1, steps=6))
    assert result(run(workers=1, steps=6, algorithm=name)) == alone


def test_late_gradients_make_a_difference_and_are_counted():
    alone, late = result(run(workers=1)), result(run(workers=8, times="heterogeneous"))
    assert alone.mean_staleness == alone.max_staleness == 0
    assert 0 < late.mean_staleness <= 7 < late.max_staleness
    assert late.loss != alone.loss


def test_the_server_multiplies_the_way_of_the_workers_own_sgd():
    plain = result(run(rate=0.05))
    apart = result(run(rate=0.5, worker_rate=0.1))
    assert apart.loss == pytest.approx(plain.loss, rel=1e-5)


def test_own_steps_are_counted_and_sent_as_one():
    plain = result(run(workers=1, drops=()))
    apart = run(workers=1, rate=1.0, drops=(), worker_rate=0.1, own_steps=5)
    assert result(apart).loss == pytest.approx(plain.loss, rel=1e-3)
    assert result(apart).time_s < 0.5 * plain.time_s


def test_a_run_that_diverges_ends_and_says_so():
    found = result(run(rate=1e6, steps=1000))
    assert found.diverged and found.loss is None and found.time_s < 100


def test_workers_that_wait_for_each_other_are_seen_to_wait():
    assert result(run()).waiting == 0
    found = result(run(times="exponential", consistency="bsp", steps=40))
    assert 0.2 < found.waiting < 0.8 and found.max_staleness == 0


def test_dsp_with_one_worker_is_sgd_on_a_copy_sent_after_each_two_steps():
    settings = dict(rate=1.0, worker_rate=0.1, consistency="dsp:s=3,w=2,fixed")
    found = result(run(workers=1, drops=(), **settings))
    plain = result(run(workers=1, drops=()))
    assert found.loss == pytest.approx(plain.loss, rel=1e-4)


def test_dsp_with_several_workers_adds_up_what_they_did_at_barriers():
    settings = dict(rate=1.0, worker_rate=0.02, consistency="dsp:s=3,w=1,fixed")
    found = result(run(drops=(), steps=60, **settings))
    plain = result(run(drops=(), steps=60, rate=0.02))
    assert found.loss == pytest.approx(plain.loss, rel=0.1)
    assert found.max_staleness == 0 and found.waiting > 0


def test_messages_take_time_on_the_server_s_link():
    quick, slow = result(run()), result(run(message_s=1.0))
    assert slow.time_s > 20 > quick.time_s


def test_speeds_change_for_one_half_of_the_workers_and_then_for_the_other():
    machines = cluster(run(times="changing", workers=4, steps=40), 100)
    found = [(one.at_s, one.worker, round(one.factor, 2)) for one in machines.changes]
    assert found == [
        *((2.0, 0, 3.0), (2.0, 1, 3.0), (5.0, 0, 0.33), (5.0, 1, 0.33)),
        *((6.0, 2, 3.0), (6.0, 3, 3.0), (9.0, 2, 0.33), (9.0, 3, 0.33)),
    ]


@pytest.mark.slow
def test_several_processes_find_what_one_finds(tmp_path, monkeypatch):
    found = data.load("fashion_mnist")
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), found))
    (tmp_path / "datasets").mkdir()
    np.savez(tmp_path / "datasets" / "fashion_mnist.npz", **arrays)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # the others load it from there
    runs, told = [run(seed=seed) for seed in range(3)], []
    running.complete(runs, tmp_path / "x.jsonl", 2, told.append)
    results = records.read(tmp_path / "x.jsonl")
    assert set(results) == set(runs) and len(told) == 3
    for one in runs:
        assert results[one].loss == pytest.approx(train(one).loss, rel=1e-4)
