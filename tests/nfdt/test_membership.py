"""Who has left, whether the job goes on, and what the one line says."""

import dataclasses

import pytest

from fdtcore.control.hub import Stall
from fdtcore.failures import ENDED, STALL, Failure
from nfdt.cluster.membership import Departures

FAILURE = Failure(1, 4, "a", "ValueError", "bad", "t.py:3", who="worker 1")


def departures(num_workers=3, survives=True, on_worker_loss="continue"):
    return Departures(num_workers, survives, on_worker_loss)


def test_the_others_go_on_without_one_and_without_two():
    made = departures()
    verdict = made.lose(1)
    assert not verdict.ends
    assert verdict.line == (
        "worker 1 (rank 1) was lost; 2 go on and take over its batches."
    )
    assert made.lose(0).line.endswith("1 worker goes on and takes over its batches.")


def test_when_the_last_is_lost_the_job_is():
    made = departures(2)
    made.lose(0)
    assert made.lose(1) == ("all workers were lost.", True, 1)
    assert made.code == 1


@pytest.mark.parametrize("asked, code", [(7, 7), (256, 1), (-1, 255), (0, 1)])
def test_who_says_why_it_ends_ends_the_job_with_its_exit_code(asked, code):
    made = departures()
    verdict = made.fail(FAILURE, asked)
    assert verdict == ("worker 1 (a) failed: ValueError: bad (t.py:3).", True, 1)
    assert made.code == code


def test_a_worker_that_leaves_a_fit_is_named_and_one_that_has_finished_is_not():
    made = departures()
    assert made.finish(0) is None
    assert made.finish(1, early=True) == (
        "worker 1 (rank 1) ended its script in the middle of fit; 1 worker goes on and "
        "takes over its batches.",
        False,
        1,
    )


def stall_of(rank, *, answers=False, can_end=True):
    failure = Failure(rank, 4, "a", "Stall", "it hangs.", kind=STALL)
    return Stall(failure, answers, can_end)


def test_a_worker_that_hangs_is_ended_where_a_loss_is_survived():
    verdict = departures().stall(stall_of(1))
    assert verdict == ("it hangs. It is ended.", False, 1)
    ends = ("it hangs.", True, 1)
    assert departures(on_worker_loss="abort").stall(stall_of(1)) == ends
    assert departures(survives=False).stall(stall_of(1)) == ends
    assert departures().stall(stall_of(1, can_end=False)) == ends


def test_without_others_or_without_a_server_the_job_ends():
    made = departures(2)
    made.lose(0)
    assert made.stall(stall_of(1)).ends
    assert departures().stall(stall_of(3)).ends  # a server


def test_a_script_that_does_not_end_when_others_have_ends_the_job():
    made = departures(2)
    made.finish(1, early=True)
    assert not made.has_ended  # the other one trains on
    assert not made.stall(stall_of(0, answers=True)).ends
    made.finish(1)
    assert made.stall(stall_of(0, answers=True)).ends
    assert not made.stall(stall_of(0)).ends  # stopped: no fault of its script


def test_a_job_of_which_one_worker_has_ended_well_ends_well():
    made = departures(2)
    made.finish(0)
    verdict = made.lose(1)
    assert not verdict.ends
    assert verdict.line.endswith("was lost; the others have finished.")


@pytest.mark.parametrize("options", [{"survives": False}, {"on_worker_loss": "abort"}])
def test_a_loss_that_is_not_to_be_survived(options):
    verdict = departures(**options).lose(2)
    assert verdict == ("worker 2 (rank 2) was lost.", True, 2)


def test_what_the_framework_has_refused_is_said_as_it_is():
    failure = dataclasses.replace(FAILURE, kind=ENDED)
    assert departures().fail(failure, 1) == ("bad", True, 1)
