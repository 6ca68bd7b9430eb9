"""Every batch once, whoever is lost; nobody waits for ever."""

import heapq
import itertools
from collections import Counter

import numpy as np
import pytest

from nfdt.protocol.leases import Leases


class Run:
    """Workers in virtual time, which may lay in a batch while they compute another."""

    def __init__(self, leases, step_s, store, losses):
        self.leases, self.step_s, self.store = leases, step_s, store
        self.finished = Counter()  # batch -> times
        self.by = Counter()  # worker -> batches
        self.ended = set()
        self.hands = {worker: [] for worker in step_s}
        self.heap, self.order = [], itertools.count()
        for worker, time_s in losses.items():
            self.plan(time_s, worker, "lose")
        for worker in step_s:
            self.plan(0.0, worker, "ask")

    def plan(self, time_s, worker, what):
        heapq.heappush(self.heap, (time_s, next(self.order), worker, what))

    def run(self):
        lost = set()
        while self.heap:
            now_s, _, worker, what = heapq.heappop(self.heap)
            if worker in lost:
                continue
            if what == "ask":
                grants = self.leases.ask(worker)
            elif what == "lose":
                lost.add(worker)
                self.ended.add(worker)
                grants = self.leases.lose(worker)
            else:
                number = self.hands[worker].pop(0)
                self.finished[number] += 1
                self.by[worker] += 1
                grants = self.leases.finish(worker, number)
                if self.hands[worker]:
                    self.begin(now_s, worker)
                elif not self.store:
                    self.plan(now_s, worker, "ask")
            self.take(grants, now_s)
        return self

    def take(self, grants, now_s):
        for worker, number in grants:
            if number < 0:
                self.ended.add(worker)
                continue
            self.hands[worker].append(number)
            if len(self.hands[worker]) == 1:
                self.begin(now_s, worker)

    def begin(self, now_s, worker):
        self.plan(now_s + self.step_s[worker], worker, "finish")
        if self.store:  # one batch is laid in while another is computed
            self.plan(now_s, worker, "ask")


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("num_losses", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_every_batch_is_done_once_and_everybody_comes_to_an_end(
    seed, num_losses, store
):
    generator = np.random.default_rng(seed)
    num_batches = int(generator.integers(0, 40))
    step_s = {w: float(generator.gamma(2.0) + 0.1) for w in range(4)}
    losses = {w: float(generator.uniform(0, 20)) for w in range(num_losses)}
    leases = Leases(num_batches)
    run = Run(leases, step_s, store, losses).run()
    assert run.finished == Counter(range(num_batches))
    assert run.ended == set(step_s)
    assert leases.is_over
    assert leases.done == frozenset(range(num_batches))


@pytest.mark.parametrize("store", [False, True])
def test_fast_workers_take_more(store):
    run = Run(Leases(100), {0: 1.0, 1: 4.0}, store, {}).run()
    assert run.by == {0: pytest.approx(80, abs=2), 1: pytest.approx(20, abs=2)}


def test_near_the_end_nobody_lays_in_a_store():
    leases = Leases(4)
    assert leases.ask(0) == [(0, 0)]
    assert leases.ask(1) == [(1, 1)]
    assert leases.ask(0) == []  # two are left for two workers
    assert leases.finish(0, 0) == [(0, 2)]
    assert leases.ask(0) == []
    assert leases.finish(1, 1) == []
    assert leases.ask(1) == [(1, 3)]


def test_the_last_who_asks_waits_in_case_another_is_lost():
    leases = Leases(2)
    leases.ask(0)
    leases.ask(1)
    leases.finish(0, 0)
    assert leases.ask(0) == []
    assert leases.lose(1) == [(0, 1)]
    assert leases.ask(0) == []
    assert leases.finish(0, 1) == [(0, -1)]


def test_what_a_lost_worker_had_goes_first():
    leases = Leases(9)
    for worker in (0, 0, 1):
        leases.ask(worker)
    leases.lose(0)
    assert [leases.ask(1)[0].number for _ in range(3)] == [0, 1, 3]


def test_what_was_not_leased_to_a_worker_it_cannot_finish():
    leases = Leases(2)
    leases.ask(0)
    leases.finish(1, 0)
    leases.finish(0, 1)
    assert leases.done == frozenset()


def test_stopping_answers_all():
    leases = Leases(1)
    leases.ask(0)
    leases.ask(1)
    assert leases.stop() == [(1, -1)]
    assert leases.ask(0) == [(0, -1)]
    assert leases.is_over


def test_what_an_earlier_run_has_done_is_not_done_again():
    leases = Leases(6, done=frozenset({0, 1, 4}))
    run = Run(leases, {0: 1.0, 1: 2.0}, False, {}).run()
    assert run.finished == Counter([2, 3, 5])
    assert leases.done == frozenset(range(6))


def test_done_without_a_batch():
    assert Leases(3, done=frozenset(range(3))).ask(5) == [(5, -1)]
    assert Leases(0).ask(5) == [(5, -1)]
