"""Jobs of functions, run to their end: what is returned, raised, and left."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from tests.processes import ROOT, Process

pytestmark = [pytest.mark.mpi, pytest.mark.horovod, pytest.mark.slow]

PROGRAM = ROOT / "tests" / "function_jobs.py"


def last(text):
    """Returns what the last line of a program's output says."""
    return json.loads(text.strip().splitlines()[-1])


def result(folder, *words, program=(sys.executable,), **environment):
    """Runs the program; returns what it says in the end, and all it said as errors."""
    with Process(*program, PROGRAM, *words, folder=folder, **environment) as process:
        done = process.ended()
        assert process.left() == {}
    assert done.returncode == 0, done.stderr
    return last(done.stdout), done.stderr


def test_results_come_in_the_order_of_ranks_and_are_those_of_the_script(tmp_path):
    found, errors = result(tmp_path, "results")
    assert found["ranks"] == [0, 1]
    assert found["points"] == [6, 6]
    assert found["lambdas"] == [3, 3]
    assert found["megabytes"] == 100
    assert found["sums"] == [0, 12_500_000]
    # Rank 0's words come to where the program's own go, and those of the others not.
    assert "rank 0 says ü []" in found["shown"] and "rank 1 says" not in found["shown"]
    assert "Epoch 2/2" in found["shown"]
    assert "output of rank 1 goes to hfdt-logs/" in errors
    [log] = tmp_path.glob("hfdt-logs/*/rank-1.log")
    assert "rank 1 says ü []" in log.read_text()
    hfdt_run = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2")
    script, _ = result(tmp_path, "train", program=hfdt_run)
    assert found["trained"] == [script, script]


def test_an_explicit_function_gets_the_options(tmp_path):
    assert result(tmp_path, "explicit")[0] == [["per_worker", 2.0]] * 2


FAILURES = {
    "raise": (1, 1, "rank 1/2", "KeyError: 'what the rank lacks'"),
    "raise alone": (0, 1, "rank 0/1", "KeyError: 'what the rank lacks'"),
    "exit": (1, 3, "rank 1/2", "SystemExit: 3"),
    "exit alone": (0, 3, "rank 0/1", "SystemExit: 3"),
    "worker raises": (1, 1, "worker 1", "KeyError: 'what the rank lacks'"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_the_first_failure_is_raised_with_the_traceback_of_the_rank(tmp_path, what):
    rank, code, who, error = FAILURES[what]
    found, errors = result(tmp_path, what)
    text, *rest = found
    assert rest == [rank, True, code]
    first, empty, *trace = text.splitlines()
    assert first.startswith(f"{who} (") and f" failed: {error} (" in first
    assert "function_jobs.py:" in first and empty == ""
    assert trace[0] == "Traceback (most recent call last):" and trace[-1] == error
    assert 'function_jobs.py", line' in trace[1] and trace[1].endswith("in function")
    assert not any("fdtcore" in line for line in trace)
    if rank:  # the command has said it as well
        assert error in errors


def test_a_killed_rank_is_named_with_its_signal(tmp_path):
    text, *rest = result(tmp_path, "kill")[0]
    assert rest == [1, True, 137]
    assert "was killed by signal 9 (SIGKILL)." in text and "\n" not in text
    text, *rest = result(tmp_path, "kill alone")[0]
    assert rest == [0, False, 137]
    assert text.startswith("rank 0/1 was killed by signal 9 (SIGKILL).")


def test_a_result_that_cannot_be_pickled_names_rank_and_type(tmp_path):
    text, *rest = result(tmp_path, "lock")[0]
    assert rest == [1, True, 1]
    wanted = "the result must be picklable. Received on rank 1: lock: cannot pickle"
    assert wanted in text and "\n" not in text


def test_workers_train_through_servers_and_one_may_be_lost(tmp_path):
    assert result(tmp_path, "served")[0] == [[[0, 2], [1, 2]], [True, True]]
    found, errors = result(tmp_path, "worker is lost")
    assert found == [0, None]
    assert "worker 1 (rank 1) was lost" in errors


def test_one_process_started_by_a_thread_trains_as_plain_keras(tmp_path):
    [(losses, weights)] = result(tmp_path, "thread")[0]
    plain, plain_weights = result(tmp_path, "train")[0]
    assert losses == pytest.approx(plain, rel=1e-6)
    assert (weights == plain_weights) == (losses == plain)


@pytest.mark.parametrize("program, np", [("hfdt", 2), ("hfdt", 1), ("nfdt", 2)])
def test_an_interrupt_of_the_program_alone_ends_every_rank(tmp_path, program, np):
    with Process(
        *(sys.executable, PROGRAM, "endless", program, np), folder=tmp_path
    ) as process:
        process.wait_for_text("epoch 1\n")
        process.send(signal.SIGINT)
        done = process.ended(60)
        assert process.left() == {}
    assert last(done.stdout) == "interrupted"
    assert f"{program}: stopped by SIGINT; every rank has ended." in done.stderr


def test_a_program_that_is_killed_leaves_nothing(tmp_path):
    with Process(
        *(sys.executable, PROGRAM, "endless", "hfdt", 2), folder=tmp_path
    ) as process:
        process.wait_for_text("epoch 1\n")
        process.send(signal.SIGKILL)
        process.ended(60)
        assert process.left() == {}
