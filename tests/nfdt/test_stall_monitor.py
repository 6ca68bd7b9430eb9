"""Who is named among workers and servers, and when; no processes, no clock."""

import pytest

from fdtcore.control.stall import COMPUTING, FINISHED, WAITING, Status
from nfdt.cluster.stall_monitor import END_OF_JOB, StallMonitor
from nfdt.protocol.server import Wait
from nfdt.protocol.topology import Roles

TIMEOUT_S = 60.0
SERVER = 3


def monitor_of(*statuses):
    """Returns that of three workers and a server, which say this at 0 s."""
    monitor = StallMonitor(Roles(4, 1), TIMEOUT_S, 0.0)
    for rank, status in enumerate(statuses):
        monitor.observe(rank, Status(*status), 0.0)
    return monitor


def serve(monitor, until_s):
    """Lets the server turn until a time."""
    monitor.observe(SERVER, Status(int(until_s), "turn", COMPUTING), until_s)


PUSHED, COMPUTES = (4, "its push 4", WAITING), (3, "its push 3", COMPUTING)


def wait_for(*whom, what="the parameters after its push 4"):
    return Wait(what, frozenset(whom))


def test_who_is_waited_for_and_makes_no_progress_is_named():
    monitor = monitor_of(PUSHED, COMPUTES, COMPUTES)
    monitor.update({0: wait_for(1)}, 0.0)
    assert monitor.verdict(TIMEOUT_S - 0.1) is None
    verdict = monitor.verdict(TIMEOUT_S, {0: "train.py:5", 1: "train.py:7"})
    assert verdict.absent == 1
    assert verdict.text == (
        "worker 0 (rank 0) waits for the parameters after its push 4, at train.py:5, "
        "which needs worker 1 (rank 1): worker 1 (rank 1) has been computing since its "
        "push 3, at train.py:7."
    )
    assert verdict.way_out.endswith("set a longer --stall-timeout.")


def test_nobody_is_named_while_nobody_waits_or_who_is_waited_for_goes_on():
    monitor = monitor_of(PUSHED, COMPUTES, COMPUTES)
    assert monitor.verdict(1e9) is None
    monitor.update({0: wait_for(1)}, 0.0)
    monitor.observe(1, Status(4, "its test batch 1", COMPUTING), 30.0)
    assert monitor.verdict(89.0) is None
    assert monitor.verdict(90.0) is not None


def test_a_step_is_no_stall_before_somebody_has_waited_as_long():
    monitor = monitor_of(COMPUTES, COMPUTES, COMPUTES)
    monitor.update({0: wait_for(1)}, 100.0)
    monitor.update({0: wait_for(1)}, 130.0)  # the same wait
    assert monitor.verdict(159.0) is None
    assert monitor.verdict(160.0).absent == 1
    monitor.update({0: wait_for(1, what="the next")}, 150.0)
    assert monitor.verdict(160.0) is None


def test_who_waits_itself_is_at_no_fault():
    monitor = monitor_of(PUSHED, PUSHED, COMPUTES)
    monitor.update({0: wait_for(1), 1: wait_for(2, what="the meeting a")}, 0.0)
    assert monitor.verdict(TIMEOUT_S).absent == 2
    assert monitor.describe(1, 12.0) == "waiting for the meeting a for 12 s"
    assert monitor.describe(2, 12.0) == "computing after its push 3 for 12 s"


@pytest.mark.parametrize("status", [(0, "", COMPUTING), (4, "its push 4", WAITING)])
def test_a_worker_that_starts_or_waits_for_a_server_is_not_named(status):
    monitor = monitor_of(PUSHED, status, COMPUTES)
    monitor.update({0: wait_for(1)}, 0.0)
    assert monitor.verdict(1e9) is None


def test_a_server_that_does_not_turn_is_named_though_nobody_waits():
    monitor = monitor_of(COMPUTES, COMPUTES, COMPUTES, (1, "turn 1", COMPUTING))
    serve(monitor, 100.0)
    assert monitor.verdict(159.0) is None
    verdict = monitor.verdict(160.0)
    assert verdict.absent == SERVER
    assert verdict.text == "server 0 (rank 3) has not served for 60 s."


def test_who_goes_on_when_others_have_ended():
    monitor = monitor_of((9, "its push 9", FINISHED), COMPUTES, COMPUTES)
    monitor.update({0: wait_for(1, what=END_OF_JOB)}, 0.0)
    verdict = monitor.verdict(TIMEOUT_S, {1: "train.py:7"})
    assert verdict.text == (
        "worker 1 (rank 1) does not end: its script goes on, or an atexit hook of it, "
        "at train.py:7, 60 s after worker 0 ended."
    )
    assert monitor.describe(0, 70.0) == "finished"


def test_a_pause_of_the_watching_process_does_not_count():
    monitor = monitor_of(PUSHED, COMPUTES, COMPUTES)
    monitor.update({0: wait_for(1)}, 0.0)
    monitor.forgive(100.0)
    assert monitor.verdict(100.0 + TIMEOUT_S - 0.1) is None
    assert monitor.verdict(100.0 + TIMEOUT_S) is not None
