import dataclasses
import signal
from pathlib import Path

import pytest

from fdtcore.failures import CUT_OFF, ENDED, GONE, Failure
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.explanation import exit_code, explain
from fdtcore.launcher.supervisor import Outcome

LOGS = Path("/logs")
FAILURE = Failure(1, 4, "a", "ValueError", "bad value", "train.py:33", "loss = f(x)")
KILLED = Ended(1, "a", 137, signal.SIGKILL)
FINE = Outcome(0, 0, 0, None)


def say(outcome, failure=None, size=4, directory=LOGS):
    return explain(outcome, failure, size=size, directory=directory)


def test_nothing_is_said_of_a_job_that_ended_well():
    assert say(FINE) is None


def test_a_failure_names_the_rank_its_exception_and_the_users_line():
    assert say(Outcome(1, 0, 0, Ended(1, "", 1, 0)), FAILURE) == (
        "rank 1/4 (a) failed: ValueError: bad value (train.py:33: loss = f(x)). "
        "See /logs/rank-1.log."
    )


def test_a_rank_that_is_gone_is_explained_by_what_mpirun_saw():
    gone = dataclasses.replace(FAILURE, kind=GONE, message="rank 1/4 is gone")
    assert say(Outcome(137, 0, 0, KILLED), gone).startswith(
        "rank 1/4 (a) was killed by signal 9 (SIGKILL). Often the machine ran out"
    )
    assert say(Outcome(1, 0, 0, None), gone).startswith("rank 1/4 is gone")


def test_a_death_that_peers_have_seen_first_is_the_ranks_own():
    gone = dataclasses.replace(FAILURE, kind=GONE, message="rank 1/4 is gone")
    of_a_peer = Outcome(14, 0, 0, Ended(0, "", 14, 0))
    assert say(of_a_peer, gone).startswith("rank 1/4 is gone.")
    assert exit_code(of_a_peer, gone) == 137
    its_own = Outcome(3, 0, 0, Ended(1, "", 3, 0))
    assert "exit code 3" in say(its_own, gone)
    assert exit_code(its_own, gone) == 3
    assert exit_code(Outcome(1, 0, 0, None), FAILURE) == 1


@pytest.mark.parametrize(
    ("type", "message", "code"),
    [
        ("SystemExit", "7", 7),
        ("SystemExit", "-1", 255),
        ("SystemExit", "no data here", 1),
        ("ValueError", "7", 1),
    ],
)
def test_the_exit_code_of_a_rank_that_failed_is_its_own(type, message, code):
    failed = dataclasses.replace(FAILURE, type=type, message=message)
    of_a_peer = Outcome(14, 0, 0, Ended(0, "", 14, 0))
    assert exit_code(of_a_peer, failed) == code
    assert exit_code(of_a_peer._replace(received=2, code=130), failed) == 130


def test_what_the_launcher_had_to_end_is_told_by_the_record():
    cut_off = dataclasses.replace(FAILURE, kind=CUT_OFF, message="b cannot be reached")
    outcome = Outcome(1, 0, 0, Ended(0, "", 14, 0))
    assert say(outcome, cut_off).startswith("b cannot be reached.")
    assert exit_code(outcome, cut_off) == 1


def test_a_machine_that_is_gone_is_named_with_the_way_to_go_on():
    outcome = Outcome(1, 0, 0, None, lost_host="node2")
    line = explain(outcome, None, size=3, directory=LOGS, again=", with --resume ck")
    assert line.startswith("node2 is gone: the machine was reset or turned off")
    assert line.endswith("Start it again, with --resume ck.")


def test_mpich_does_not_say_who_has_died():
    outcome = Outcome(255, 0, 0, None, has_died=True)
    line = explain(outcome, None, size=3, directory=LOGS, again=", with --resume ck")
    assert line.startswith("a process has died, or its machine, and MPICH does not say")
    assert line.endswith("Start it again, with --resume ck.")
    assert "has died" not in say(outcome, FAILURE)


def test_a_file_on_another_machine_is_said_to_be_there(tmp_path):
    failure = dataclasses.replace(FAILURE, host="node7")
    line = say(Outcome(1, 0, 0, None), failure, directory=tmp_path)
    assert line.endswith(f"See {tmp_path}/rank-1.log on node7.")
    (tmp_path / "rank-1.log").touch()
    line = say(Outcome(1, 0, 0, None), failure, directory=tmp_path)
    assert line.endswith(f"See {tmp_path}/rank-1.log.")


def test_a_rank_that_exits():
    line = say(Outcome(3, 0, 0, Ended(2, "", 3, 0)))
    assert line == "rank 2/4 ended with exit code 3. See /logs/rank-2.log."


def test_rank_0_has_no_file():
    line = say(Outcome(3, 0, 0, Ended(0, "", 3, 0)))
    assert line == "rank 0/4 ended with exit code 3."


def test_a_launcher_that_fails_by_itself():
    assert "exit code 213" in say(Outcome(213, 0, 0, None))
    assert "the launcher was killed by signal 15" in say(Outcome(143, 0, 15, None))


def test_one_process_speaks_for_itself_unless_it_was_killed():
    assert say(Outcome(1, 0, 0, None), size=1, directory=None) is None
    line = say(Outcome(139, 0, 11, None), size=1, directory=None)
    assert line.startswith("rank 0/1 was killed by signal 11 (SIGSEGV).")
    line = say(Outcome(162, 0, 34, None), size=1, directory=None)
    assert "signal 34" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_job_says_only_that(number):
    line = say(Outcome(128 + number, number, 0, KILLED), FAILURE)
    assert line == f"stopped by {number.name}; every rank has ended."


def test_files_below_this_folder_are_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = say(Outcome(1, 0, 0, None), FAILURE, directory=tmp_path / "logs")
    assert line.endswith("See logs/rank-1.log.")


def test_a_framework_calls_ranks_by_its_own_names():
    outcome = Outcome(137, 0, 0, KILLED)
    line = explain(
        outcome, None, size=4, directory=LOGS, name=lambda rank, size: f"server {rank}"
    )
    assert line.startswith("server 1 (a) was killed by signal 9 (SIGKILL).")
    named = dataclasses.replace(FAILURE, who="worker 1")
    assert say(Outcome(1, 0, 0, None), named).startswith("worker 1 (a) failed: Value")


def test_a_framework_that_ended_its_job_has_the_last_word():
    ended = dataclasses.replace(FAILURE, kind=ENDED, message="worker 2 was lost.")
    line = say(Outcome(1, 0, 0, Ended(2, "", 1, 0)), ended)
    assert line == "worker 2 was lost. See /logs/rank-1.log."
