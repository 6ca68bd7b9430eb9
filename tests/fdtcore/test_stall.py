"""When a wait is called a stall, and whom the verdict names."""

import math
import random

import pytest

from fdtcore.control.stall import (
    COMPUTING,
    FINISHED,
    INTERRUPTED,
    WAITING,
    JointCalls,
    Patience,
    Status,
)

TIMEOUT_S = 60.0
PATIENCE = Patience(stall_timeout_s=TIMEOUT_S, grace_s=2.0)


def monitor_of(*statuses, at_s=0.0):
    monitor = JointCalls(len(statuses), PATIENCE, at_s)
    for rank, status in enumerate(statuses):
        monitor.observe(rank, Status(*status), at_s)
    return monitor


# What each rank says at 0 s -> when the stall is called (None: never), its two ranks.
SCENARIOS = {
    "all compute": ([(3, "a", COMPUTING), (3, "a", COMPUTING)], None, None),
    "all in the same call": ([(4, "a", WAITING), (4, "a", WAITING)], None, None),
    "one has left the call": ([(4, "a", WAITING), (4, "a", COMPUTING)], None, None),
    "all finished": ([(4, "a", FINISHED), (4, "a", FINISHED)], None, None),
    "finished unequally": ([(4, "a", FINISHED), (3, "a", FINISHED)], None, None),
    "one computes on": ([(4, "a", WAITING), (3, "a", COMPUTING)], TIMEOUT_S, (0, 1)),
    "one never called": ([(1, "a", WAITING), (0, "", COMPUTING)], TIMEOUT_S, (0, 1)),
    "another call": ([(4, "a", WAITING), (4, "b", WAITING)], 2.0, (0, 1)),
    "an earlier call": ([(3, "a", WAITING), (4, "b", WAITING)], TIMEOUT_S, (1, 0)),
    "one finished": ([(4, "a", WAITING), (3, "a", FINISHED)], 2.0, (0, 1)),
    "one interrupted": ([(3, "a", INTERRUPTED), (4, "a", WAITING)], 2.0, (1, 0)),
    "finished while the third computes": (
        [(3, "a", COMPUTING), (4, "a", WAITING), (3, "a", FINISHED)],
        2.0,
        (1, 2),
    ),
    "the one furthest behind is named": (
        [(4, "a", WAITING), (3, "a", COMPUTING), (1, "a", COMPUTING)],
        TIMEOUT_S,
        (0, 2),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name):
    statuses, due_s, ranks = SCENARIOS[name]
    monitor = monitor_of(*statuses)
    if due_s is None:
        assert monitor.verdict(1e9) is None
        return
    assert monitor.verdict(due_s - 0.01) is None
    verdict = monitor.verdict(due_s)
    assert verdict.absent == ranks[1]
    assert verdict.text.startswith(f"rank {ranks[0]}/{len(statuses)} waits in call")


def test_progress_anywhere_is_hope():
    monitor = monitor_of(
        (4, "a", WAITING), (3, "a", COMPUTING), (2, "a", COMPUTING), at_s=0.0
    )
    monitor.observe(2, Status(3, "a", WAITING), TIMEOUT_S - 1)
    assert monitor.verdict(TIMEOUT_S) is None
    assert monitor.verdict(2 * TIMEOUT_S - 1.1) is None
    assert monitor.verdict(2 * TIMEOUT_S - 1) is not None


def test_the_same_status_again_is_no_progress():
    monitor = monitor_of((4, "a", WAITING), (3, "a", COMPUTING))
    monitor.observe(1, Status(3, "a", COMPUTING), TIMEOUT_S - 1)
    assert monitor.verdict(TIMEOUT_S) is not None


def test_grace_counts_from_the_later_of_wait_and_end():
    monitor = monitor_of((3, "a", FINISHED), (3, "a", COMPUTING))
    monitor.observe(1, Status(4, "b", WAITING), 30.0)
    assert monitor.verdict(31.9) is None
    assert monitor.verdict(32.0) is not None


def test_own_pause_is_not_held_against_others():
    monitor = monitor_of((4, "a", WAITING), (3, "a", COMPUTING))
    monitor.forgive(100.0)
    assert monitor.verdict(100.0 + TIMEOUT_S - 0.1) is None
    assert monitor.verdict(100.0 + TIMEOUT_S) is not None


def test_without_timeout_only_ended_ranks_count():
    for state, expected in ((COMPUTING, False), (FINISHED, True)):
        monitor = JointCalls(2, Patience(math.inf), 0.0)
        monitor.observe(0, Status(1, "a", WAITING), 0.0)
        monitor.observe(1, Status(0, "", state), 0.0)
        assert (monitor.verdict(1e9) is not None) == expected


def test_who_goes_on_when_others_have_ended_has_the_stall_timeout():
    monitor = monitor_of((9, "end of fit", FINISHED), (9, "end of fit", COMPUTING))
    assert monitor.verdict(TIMEOUT_S - 0.1) is None
    verdict = monitor.verdict(TIMEOUT_S, {1: "train.py:7"})
    assert verdict.absent == 1
    assert f"{verdict.text} {verdict.way_out}" == (
        "rank 1/2 does not end: it has been computing since call 9 (end of fit), at "
        f"train.py:7, and rank 0/2 ended {TIMEOUT_S:.0f} s ago. Its stack shows where; "
        "if it needs that long, set a longer stall timeout."
    )


def test_nobody_is_hurried_while_none_has_ended():
    monitor = monitor_of((9, "a", COMPUTING), (9, "a", COMPUTING))
    assert monitor.verdict(1e9) is None


TEXTS = {
    (120, "gradients, step 60", FINISHED): (
        "finished its script after call 120 (gradients, step 60)"
    ),
    (120, "x", INTERRUPTED): "was interrupted after call 120 (x)",
    (120, "x", WAITING): "waits in call 120 (x)",
    (0, "", COMPUTING): "has been computing since call 0",
}


@pytest.mark.parametrize("status", TEXTS)
def test_text_names_both_ranks_and_the_call(status):
    monitor = monitor_of((121, "gradients, step 61", WAITING), status)
    verdict = monitor.verdict(TIMEOUT_S)
    assert verdict.text == (
        "rank 0/2 waits in call 121 (gradients, step 61), which rank 1/2 never "
        f"joined: rank 1/2 {TEXTS[status]}."
    )
    assert verdict.way_out


def test_describe():
    monitor = monitor_of((3, "a", WAITING), (2, "b", COMPUTING), (2, "b", FINISHED))
    assert [monitor.describe(rank, 12.0) for rank in range(3)] == [
        "waiting in call 3 (a) for 12 s",
        "computing after call 2 (b) for 12 s",
        "finished after call 2 (b)",
    ]


@pytest.mark.parametrize("seed", range(20))
def test_random_jobs(seed):
    """Safety: no verdict on a sound job. Liveness: one on every job with a deserter."""
    generator = random.Random(seed)
    size, calls = generator.randint(2, 5), 12
    deserter, last = generator.randrange(size), generator.randint(0, calls - 1)
    ending = generator.choice([FINISHED, COMPUTING])
    assert run_job(generator, size, calls, None, calls, ending) is None
    verdict = run_job(generator, size, calls, deserter, last, ending)
    assert verdict.absent == deserter
    assert not verdict.text.startswith(f"rank {deserter}/")


def run_job(generator, size, calls, deserter, last, ending):
    """Plays a job in virtual time; statuses arrive twice a second, late by chance."""
    monitor = JointCalls(size, PATIENCE, 0.0)
    events = []  # (time, rank, status)
    start_s = 0.0
    for call in range(1, calls + 1):
        arrivals = [start_s + generator.uniform(0.1, 50.0) for _ in range(size)]
        for rank in range(size):
            if rank == deserter and call > last:
                state = Status(last, f"c{last}", ending)
                events.append((start_s + 1.0, rank, state))
            else:
                events.append((arrivals[rank], rank, Status(call, f"c{call}", WAITING)))
        if deserter is not None and call > last:
            break
        start_s = max(arrivals)
        for rank in range(size):
            events.append((start_s, rank, Status(call, f"c{call}", COMPUTING)))
    else:
        end_s = start_s + 1.0
        events += [(end_s, r, Status(calls, "c", FINISHED)) for r in range(size)]
    events.sort(key=lambda event: event[0])
    now_s = 0.0
    while now_s < start_s + 200.0:
        now_s += 0.5
        while events and events[0][0] <= now_s - generator.choice([0.0, 0.5]):
            _, rank, status = events.pop(0)
            monitor.observe(rank, status, now_s)
        verdict = monitor.verdict(now_s)
        if verdict is not None:
            return verdict
    return None
