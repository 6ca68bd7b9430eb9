"""Who has left, whether the job goes on, and what the one line says."""

import dataclasses

import pytest

from fdtcore.control.hub import Stall
from fdtcore.failures import ENDED, STALL, Failure
from nfdt.cluster.membership import Membership

FAILURE = Failure(1, 4, "a", "ValueError", "bad", "t.py:3", who="worker 1")


def workers_of(num_workers=3, survives=True, on_worker_loss="continue"):
    return Membership(num_workers, num_workers + 1, survives, on_worker_loss)


def ends(notice):
    """Returns the line that a job ends with, and whose output says more."""
    assert not notice.line
    return notice.failure.sentence(), notice.failure.rank


def test_the_others_go_on_without_one_and_without_two():
    made = workers_of()
    notice = made.lose(1)
    assert notice.failure is None
    assert notice.line == (
        "worker 1 (rank 1) was lost; 2 go on and take over its batches."
    )
    assert made.lose(0).line.endswith("1 worker goes on and takes over its batches.")


def test_when_the_last_is_lost_the_job_is():
    made = workers_of(2)
    made.lose(0)
    assert ends(made.lose(1)) == ("all workers were lost.", 1)
    assert made.code == 1


@pytest.mark.parametrize("asked, code", [(7, 7), (256, 1), (-1, 255), (0, 1)])
def test_who_says_why_it_ends_ends_the_job_with_its_exit_code(asked, code):
    made = workers_of()
    notice = made.fail(FAILURE, asked)
    assert ends(notice) == ("worker 1 (a) failed: ValueError: bad (t.py:3).", 1)
    assert notice.failure is FAILURE  # its traceback is in the record as well
    assert made.code == code


def test_a_worker_that_leaves_a_fit_is_named_and_one_that_has_finished_is_not():
    made = workers_of()
    assert made.finish(0) is None
    assert made.finish(1, early=True) == (
        "worker 1 (rank 1) ended its script in the middle of fit; 1 worker goes on and "
        "takes over its batches.",
        None,
    )


def stall_of(rank, *, answers=False, can_end=True):
    failure = Failure(rank, 4, "a", "Stall", "it hangs.", kind=STALL)
    return Stall(failure, answers, can_end)


def test_a_worker_that_hangs_is_ended_where_a_loss_is_survived():
    assert workers_of().stall(stall_of(1)) == ("it hangs. It is ended.", None)
    said = ("it hangs.", 1)
    assert ends(workers_of(on_worker_loss="abort").stall(stall_of(1))) == said
    assert ends(workers_of(survives=False).stall(stall_of(1))) == said
    assert ends(workers_of().stall(stall_of(1, can_end=False))) == said


def test_without_others_or_without_a_server_the_job_ends():
    made = workers_of(2)
    made.lose(0)
    assert made.stall(stall_of(1)).failure
    assert workers_of().stall(stall_of(3)).failure  # a server


def test_a_script_that_does_not_end_when_others_have_ends_the_job():
    made = workers_of(2)
    made.finish(1, early=True)
    assert not made.has_ended  # the other one trains on
    assert made.stall(stall_of(0, answers=True)).failure is None
    made.finish(1)
    assert made.stall(stall_of(0, answers=True)).failure
    assert made.stall(stall_of(0)).failure is None  # stopped: no fault of its script


def test_a_job_of_which_one_worker_has_ended_well_ends_well():
    made = workers_of(2)
    made.finish(0)
    notice = made.lose(1)
    assert notice.failure is None
    assert notice.line.endswith("was lost; the others have finished.")


@pytest.mark.parametrize("options", [{"survives": False}, {"on_worker_loss": "abort"}])
def test_a_loss_that_is_not_to_be_survived(options):
    notice = workers_of(**options).lose(2)
    assert ends(notice) == ("worker 2 (rank 2) was lost.", 2)


def test_what_the_framework_has_refused_is_said_as_it_is():
    failure = dataclasses.replace(FAILURE, kind=ENDED)
    assert ends(workers_of().fail(failure, 1)) == ("bad.", 1)
