"""Who has left, whether the job goes on, and what the one line says."""

import dataclasses

import pytest

from fdtcore.failures import Failure
from nfdt.cluster.departures import Departures

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


def test_the_first_failure_is_the_one_that_is_told_with_its_exit_code():
    made = departures(2)
    verdict = made.fail(FAILURE, 7, fatal=False)
    assert verdict.line.startswith("worker 1 (a) failed: ValueError: bad (t.py:3); 1")
    last = made.fail(dataclasses.replace(FAILURE, rank=0), 9, fatal=False)
    assert last.ends
    assert last.line == (
        "worker 1 (a) failed: ValueError: bad (t.py:3); no other worker is left."
    )
    assert (last.rank, made.code) == (1, 7)


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


def test_what_every_worker_would_meet_ends_the_job():
    verdict = departures().fail(FAILURE, 1, fatal=True)
    assert (verdict.line, verdict.ends) == ("bad", True)
