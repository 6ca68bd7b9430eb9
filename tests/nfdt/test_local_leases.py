"""Workers that make local steps: every batch is merged once, whoever is lost."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nfdt.protocol import checkpoints
from nfdt.protocol.controllers import (
    Asynchronous,
    BulkSynchronous,
    DynamicSynchronous,
    LocalSteps,
    StaleSynchronous,
)
from nfdt.protocol.leases import MERGE, OVER, Leases
from nfdt.protocol.messages import Kind, Message
from tests.nfdt.services import opening, service

EPOCH, BATCHES, WORKERS = 1 << 32, 23, 3


class Job:
    """Workers in random order that make local steps, as ``nfdt.glue`` has them do.

    Args:
        controller: Of the one server.
        local_steps: Between two pushes, where the controller does not pace them.
        seed: Of the order.
    """

    def __init__(self, controller, local_steps, seed):
        self.random = np.random.default_rng(seed)
        self.paces, self.local_steps = controller.paces, local_steps
        self.service = service(WORKERS, controller)
        self.hand = {w: None for w in range(WORKERS)}  # the batch that is computed
        self.own = {w: [] for w in range(WORKERS)}  # steps in no push yet
        self.pushed = {}  # worker -> batches of a push that is not applied yet
        self.merged = Counter()
        self.over, self.lost = set(), set()
        for worker in range(WORKERS):
            self.send(opening(worker))

    def send(self, message):
        answers = self.service.handle(message, 0.0)
        for worker in list(self.pushed):
            if not self.service.groups[0].holds(worker):
                self.merged.update(self.pushed.pop(worker))
        for answer in answers:
            self.take(answer)

    def take(self, answer):
        worker = answer.worker
        if answer.kind is Kind.PARAMS:
            self.send(Message(Kind.DONE, worker, epoch=EPOCH))
            self.ask(worker)
        elif answer.kind is Kind.PACE:
            self.push(worker) if answer.number else self.ask(worker)
        elif answer.number == MERGE:
            assert self.own[worker]
            self.push(worker)
        elif answer.number == OVER:
            self.over.add(worker)
        else:
            self.hand[worker] = answer.number

    def ask(self, worker):
        self.send(Message(Kind.LEASE, worker, epoch=EPOCH, parts=BATCHES))

    def push(self, worker, number=-1):
        self.pushed[worker], self.own[worker] = self.own[worker], []
        epoch = EPOCH if number >= 0 else -1
        about = {"number": number, "epoch": epoch, "payload": np.ones(5, np.float32)}
        self.send(Message(Kind.PUSH, worker, **about))

    def step(self, worker):
        number, self.hand[worker] = self.hand[worker], None
        self.own[worker].append(number)
        about = {"number": number, "epoch": EPOCH}
        if self.paces:
            self.send(Message(Kind.STEP, worker, **about))
        elif len(self.own[worker]) == self.local_steps:
            self.push(worker, number)
        else:
            self.send(Message(Kind.DONE, worker, parts=1, **about))
            self.ask(worker)

    def lose(self, worker):
        self.lost.add(worker)
        self.hand[worker] = None
        for answer in self.service.lose(worker, 0.0):
            self.take(answer)

    def run(self, losses):
        """Loses a worker behind each of some numbers of steps."""
        count = 0
        while ready := [w for w in self.hand if self.hand[w] is not None]:
            if count in losses and len(ready) > 1:
                self.lose(int(self.random.choice(ready)))
                losses = losses - {count}
                continue
            self.step(int(self.random.choice(ready)))
            count += 1
            kept = checkpoints.kept(self.service)["leases"][EPOCH]["done"]
            assert set(kept.tolist()) == set(self.merged)


CONTROLLERS = {
    "asp": Asynchronous(),
    "bsp": BulkSynchronous(),
    "ssp:1": StaleSynchronous(1),
    "dsp": DynamicSynchronous(),
    "local:4": LocalSteps(4),
}


@pytest.mark.parametrize("losses", [(), (4,), (9, 15), (22,)])
@pytest.mark.parametrize("consistency", CONTROLLERS)
@pytest.mark.parametrize("seed", range(8))
def test_every_batch_is_merged_once(consistency, losses, seed):
    job = Job(CONTROLLERS[consistency], 3, seed)
    job.run(set(losses))
    assert job.merged == Counter(range(BATCHES))
    assert job.over == set(range(WORKERS)) - job.lost
    assert job.service.leases[EPOCH].is_over


def test_what_is_not_merged_goes_to_another():
    leases = Leases(3)
    for number in (0, 1):
        assert leases.ask(0) == [(0, number)]
        assert leases.step(0, number) == []
    assert leases.done == frozenset()
    assert leases.holders == {0}
    assert leases.lose(0) == []
    assert [leases.ask(1)[0].number for _ in range(1)] == [0]


def test_a_push_finishes_the_steps_before_it():
    leases = Leases(4)
    for number in (0, 1, 2):
        leases.ask(0)
        leases.step(0, number)
    leases.ask(0)
    leases.finish(0, 3)
    assert leases.done == {0, 1, 2, 3}
    assert leases.take_merged(0) == [0, 1, 2, 3]
    assert leases.take_merged(0) == []


def test_who_finds_no_batch_is_to_merge_before_it_waits():
    leases = Leases(2)
    leases.ask(0), leases.ask(1)
    assert leases.ask(0) == []  # its batch is in hand yet
    assert leases.step(0, 0) == [(0, MERGE)]
    assert leases.finish(0) == []
    assert leases.ask(0) == []
    assert leases.is_idle(0)
    assert leases.lose(1) == [(0, 1)]
    leases.step(0, 1)
    assert leases.ask(0) == [(0, MERGE)]
    leases.finish(0)
    assert leases.ask(0) == [(0, OVER)]
