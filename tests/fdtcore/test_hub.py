"""The hub's answers to messages, losses and time; no sockets, no sleeping."""

import pytest

from fdtcore import failures
from fdtcore.control import hub
from fdtcore.control.hub import Hub
from fdtcore.control.process_identity import ProcessIdentity
from fdtcore.control.stall import (
    COMPUTING,
    FINISHED,
    INTERRUPTED,
    WAITING,
    Patience,
    Status,
)
from fdtcore.failures import Failure

SILENT = "It is stopped, or inside C code that lets no other thread run."
FAILURE = Failure(1, 3, "b", "ValueError", "bad")
OTHER = Failure(2, 3, "c", "KeyError", "'x'")


def hub_of(size=3, hosts="abc", judge=None):
    center = Hub(size, Patience(stall_timeout_s=60.0), now_s=0.0, judge=judge)
    for rank in range(size):
        assert center.join(rank, ProcessIdentity(hosts[rank], 100 + rank)) == []
    return center


def say(center, rank, status, now_s=0.0, kind="status"):
    return center.receive(rank, hub.status_message(Status(*status), kind), now_s)


def fail(center, failure):
    message = {"type": "failure", "failure": failure.to_json()}
    return center.receive(failure.rank, message, 0.0)


def tick_through(center, start_s, end_s, silent=()):
    """Ticks as the switchboard does; returns the letters and when they came.

    All ranks but those of ``silent`` say that they are alive.
    """
    now_s = start_s
    while now_s <= end_s:
        for rank in set(center._members) - set(silent):
            center.receive(rank, {"type": "alive"}, now_s)
        letters = [one for one in center.tick(now_s) if one[1]["type"] != "alive"]
        if letters:
            return letters, now_s
        now_s += 0.25
    return [], now_s


def test_first_failure_goes_to_all_its_reporter_first():
    center = hub_of()
    letters = fail(center, FAILURE)
    assert [rank for rank, _ in letters] == [1, 0, 2]
    assert {message["type"] for _, message in letters} == {"failure"}
    assert fail(center, OTHER) == []
    assert center.failure == FAILURE


def test_all_are_told_when_all_have_acknowledged_or_gone():
    center = hub_of()
    fail(center, FAILURE)
    assert center.receive(0, {"type": "received"}, 0.0) == []
    assert center.lose(2) == []
    assert center.receive(1, {"type": "received"}, 0.0) == [
        (0, {"type": "acknowledged"}),
        (1, {"type": "acknowledged"}),
    ]


def test_late_rank_hears_of_the_failure():
    center = Hub(2, Patience(60.0), 0.0)
    center.join(1, ProcessIdentity("b", 101))
    fail(center, Failure(1, 2, "b", "ValueError", "bad"))
    ((rank, message),) = center.join(0, ProcessIdentity("a", 100))
    assert (rank, message["type"]) == (0, "failure")


def test_lost_rank_is_gone_unless_it_said_goodbye_in_order():
    center = hub_of()
    letters = center.lose(2)
    assert [rank for rank, _ in letters] == [0, 1]
    assert center.failure.kind == failures.GONE
    assert center.failure.headline() == (
        "rank 2/3 (c, pid 102) has died silently: killed by a signal? "
        "(often out of memory: see dmesg, or its machine has ended)"
    )
    center = hub_of(hosts="aaa")
    center.lose(2)
    assert center.failure.headline().endswith("(often out of memory: see dmesg)")
    center = hub_of()
    say(center, 2, (1, "a", INTERRUPTED), kind="goodbye")
    assert center.lose(2) == []
    assert center.failure is None


def test_a_machine_out_of_reach_is_named_with_what_was_heard_last():
    center = hub_of()
    say(center, 2, (4, "gradients", WAITING), now_s=3.0)
    letters = center.lose(2, 10.0, unreachable=True)
    assert [rank for rank, _ in letters] == [0, 1]
    assert center.failure.kind == failures.CUT_OFF
    assert center.failure.headline() == (
        "c cannot be reached: the machine or the network to it is down. rank 2/3 "
        "(pid 102) was last heard waiting in call 4 (gradients) for 7 s."
    )


def test_where_a_job_may_go_on_all_that_are_left_are_told_who_is_cut_off():
    center = hub_of(judge=lambda stall: None)
    assert center.lose(1, 10.0) == []  # a death: MPI reports it
    ((rank, message),) = center.lose(2, 10.0, unreachable=True)
    assert (rank, message["type"]) == (0, "cut_off")
    assert Failure.from_json(message["failure"]).rank == 2
    assert center.failure is None


def test_finished_when_all_have_said_goodbye():
    center = hub_of()
    for rank in (2, 0):
        assert say(center, rank, (5, "a", FINISHED), kind="goodbye") == []
    letters = say(center, 1, (5, "a", FINISHED), kind="goodbye")
    assert letters == [(rank, {"type": "finished"}) for rank in range(3)]
    assert center.finished
    assert center.lose(0) == []


def test_rank_that_dies_while_it_waits_for_the_end_is_gone():
    center = hub_of()
    say(center, 2, (5, "a", FINISHED), kind="goodbye")
    assert center.lose(2)
    assert center.failure.kind == failures.GONE


def test_interrupted_rank_zero_leaves_after_the_others_know():
    center = hub_of()
    letters = say(center, 0, (5, "a", INTERRUPTED), kind="goodbye")
    assert letters == [(rank, {"type": "stopping"}) for rank in (1, 2)]
    assert center.receive(1, {"type": "received"}, 0.0) == []
    assert center.lose(2) == [(rank, {"type": "acknowledged"}) for rank in (0, 1)]
    assert center.failure is None


def test_interrupted_rank_zero_that_is_alone_leaves_at_once():
    center = Hub(2, Patience(60.0), 0.0)
    center.join(0, ProcessIdentity("a", 100))
    letters = say(center, 0, (5, "a", INTERRUPTED), kind="goodbye")
    assert letters == [(0, {"type": "acknowledged"})]


def test_stall_asks_for_stacks_then_reports_all_ranks():
    center = hub_of(2)
    say(center, 0, (4, "gradients", WAITING))
    say(center, 1, (3, "gradients", COMPUTING))
    letters, now_s = tick_through(center, 0.0, 100.0)
    assert letters == [(rank, {"type": "send_stack"}) for rank in (0, 1)]
    assert now_s == 60.0
    for rank in (0, 1):
        center.receive(rank, {"type": "stack", "text": f"  line {rank}\n"}, now_s)
    letters = center.tick(now_s)
    assert [rank for rank, _ in letters] == [0, 1]
    assert center.failure.kind == failures.STALL
    assert (center.failure.rank, center.failure.host) == (1, "b")
    assert center.failure.traceback == (
        "\nrank 0/2 (a): waiting in call 4 (gradients) for 60 s\n  line 0\n"
        "\nrank 1/2 (b): computing after call 3 (gradients) for 60 s\n  line 1\n"
    )


def test_a_stall_names_the_lines_of_the_script():
    center = hub_of(2)
    say(center, 0, (4, "train step 4", WAITING))
    say(center, 1, (4, "sum of losses", WAITING))
    _, now_s = tick_through(center, 0.0, 3.0)
    for rank in (0, 1):
        stack = f'  File "/a/train.py", line 3{rank}, in main\n    step()\n  inside f\n'
        center.receive(rank, {"type": "stack", "text": stack}, now_s)
    center.tick(now_s)
    assert center.failure.headline() == (
        "rank 0/2 waits in call 4 (train step 4), at train.py:30, which rank 1/2 never "
        "joined: rank 1/2 waits in call 4 (sum of losses), at train.py:31. Make the "
        "same calls on every rank: as many steps, epochs and batches."
    )


def test_rank_that_has_ended_has_no_stack_to_show():
    center = hub_of(2)
    say(center, 0, (4, "gradients", WAITING))
    say(center, 1, (3, "gradients", FINISHED), kind="goodbye")
    _, now_s = tick_through(center, 0.0, 3.0)
    for rank in (0, 1):
        center.receive(rank, {"type": "stack", "text": f"  line {rank}\n"}, now_s)
    center.tick(now_s)
    assert center.failure.traceback.endswith(
        "  line 0\n\nrank 1/2 (b): finished after call 3 (gradients)\n"
    )


def test_rank_without_an_answer_does_not_hold_up_the_report():
    center = hub_of(2)
    say(center, 0, (4, "gradients", WAITING))
    _, now_s = tick_through(center, 0.0, 100.0)
    center.receive(0, {"type": "stack", "text": "  line 0\n"}, now_s)
    letters, reported_s = tick_through(center, now_s, 100.0)
    assert letters
    assert reported_s == now_s + 2.0
    assert center.failure.message.endswith("call 0. " + SILENT)
    assert "computing after call 0 for 62 s\n  no answer:" in center.failure.traceback


def test_rank_that_joins_at_the_last_moment_is_spared():
    center = hub_of(2)
    say(center, 0, (4, "gradients", WAITING))
    say(center, 1, (3, "gradients", COMPUTING))
    _, now_s = tick_through(center, 0.0, 100.0)
    say(center, 1, (4, "gradients", WAITING), now_s)
    for rank in (0, 1):
        center.receive(rank, {"type": "stack", "text": ""}, now_s)
    assert tick_through(center, now_s, now_s + 300.0)[0] == []
    assert center.failure is None


def test_pause_of_rank_zero_is_no_stall():
    center = hub_of(2)
    say(center, 0, (4, "gradients", WAITING))
    center.tick(1.0)
    assert tick_through(center, 1000.0, 1000.0)[0] == []
    assert tick_through(center, 1000.25, 1058.0)[0] == []
    assert tick_through(center, 1058.25, 1070.0)[0] != []


def test_status_that_arrives_after_the_goodbye_is_stale():
    center = hub_of(2)
    say(center, 0, (4, "gradients", WAITING))
    say(center, 1, (3, "gradients", FINISHED), kind="goodbye")
    say(center, 1, (3, "gradients", COMPUTING))
    assert tick_through(center, 0.0, 3.0)[1] == 2.0


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "unheard of"},
        {"type": "status", "calls": "1", "label": "", "state": COMPUTING},
        {"type": "status", "calls": 1, "label": 2, "state": COMPUTING},
        {"type": "status", "calls": 1, "label": "", "state": "asleep"},
        {"type": "failure", "failure": {"rank": 0}},
    ],
)
def test_malformed_message_is_refused(message):
    with pytest.raises(ValueError, match="Received"):
        hub_of().receive(0, message, 0.0)


@pytest.mark.parametrize("rank", [-1, 3, 0])
def test_only_a_rank_that_is_missing_may_join(rank):
    with pytest.raises(ValueError, match="joins once"):
        hub_of().join(rank, ProcessIdentity("x", 1))


def test_rank_that_says_nothing_is_named_though_nobody_waits_for_it():
    center = hub_of(3)
    say(center, 1, (3, "gradients", COMPUTING))
    letters, now_s = tick_through(center, 0.0, 100.0, silent=[1])
    assert now_s == 61.5
    assert letters == [(rank, {"type": "send_stack"}) for rank in range(3)]
    for rank in (0, 2):
        center.receive(rank, {"type": "stack", "text": ""}, now_s)
    tick_through(center, now_s, now_s, silent=[1])
    assert center.failure.message == (
        "rank 1/3 (b, pid 101) has not answered for 62 s, computing after call 3 "
        f"(gradients) for 62 s. {SILENT}"
    )


def test_a_job_that_goes_on_hears_once_of_a_stall_and_has_it_ended():
    stalls = []
    center = hub_of(3, judge=stalls.append)
    say(center, 0, (4, "gradients", WAITING))
    _, now_s = tick_through(center, 0.0, 100.0, silent=[1])
    assert tick_through(center, now_s, now_s + 100.0, silent=[1])[0] == []
    assert [one.failure.rank for one in stalls] == [1]
    assert not stalls[0].can_end  # no other rank is on its machine
    assert center.failure is None
    assert center.lose(2) == []


def test_a_process_is_ended_by_those_on_its_machine():
    stalls = []
    center = hub_of(3, hosts="aba", judge=stalls.append)
    _, now_s = tick_through(center, 0.0, 200.0, silent=[2])
    tick_through(center, now_s, now_s + 3.0, silent=[2])
    assert stalls[0].can_end
    center.kill(2)
    letters, _ = tick_through(center, now_s, now_s, silent=[2])
    assert [(rank, message["type"]) for rank, message in letters] == [(0, "kill")]
    assert letters[0][1]["pid"] == 102


def test_long_labels_and_reports_fit_the_line():
    center = hub_of(2)
    long = hub.status_message(Status(4, "x" * 10_000, WAITING))
    center.receive(0, long, 0.0)
    _, now_s = tick_through(center, 0.0, 100.0)
    for rank in (0, 1):
        center.receive(rank, {"type": "stack", "text": "y" * 500_000}, now_s)
    center.tick(now_s)
    assert Failure.from_json(center.failure.to_json()) == center.failure
