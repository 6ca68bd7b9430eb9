"""Jobs that are started again, under mpirun, without TensorFlow."""

import re
import sys
from pathlib import Path

import pytest

from fdtcore.launcher.elastic import ElasticJob, Kept, Limits
from fdtcore.launcher.foreground import Foreground
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.jobs import JobHosts
from fdtcore.snapshots.stop_requests import STOPPED_CODE
from tests.processes import Process, run

STUB = Path(__file__).with_name("elastic_stub.py")
pytestmark = pytest.mark.mpi


def play(folder, plan, *, size=2, restarts=2, least=None, most=None, **environ):
    """Returns the code, what the launcher said, and the sizes of the runs."""
    numbers = (size, restarts, least or size, most or size)
    done = run(sys.executable, STUB, folder, *numbers, *plan, **environ)
    return done.returncode, said(done.stderr), sizes(folder)


def said(text):
    return [
        line.removeprefix("stub: ")
        for line in text.splitlines()
        if line.startswith("stub: ") and "output of rank" not in line
    ]


def sizes(folder):
    runs = sorted(folder.glob("run-*"))
    return [int(file.read_text()) for file in runs]


def test_a_job_that_loses_a_rank_is_started_again(tmp_path):
    code, lines, runs = play(tmp_path, ["kept:3:kill", "5:end"])
    assert (code, runs) == (0, [2, 2])
    killed, restart, trains = lines
    assert "rank 1/2" in killed and "killed by signal 9" in killed
    assert restart == "restart 1 of 2: 2 ranks go on from the newest snapshot."
    assert re.fullmatch(r"2 ranks train again, \d+\.\d s after\.", trains)
    assert (tmp_path / "logs" / "restart-1").is_dir()  # its output


def test_one_rank_alone_is_started_again(tmp_path):
    code, lines, runs = play(tmp_path, ["3:kill", "5:end"], size=1)
    assert (code, runs) == (0, [1, 1])
    assert lines[1] == "restart 1 of 2: 1 rank goes on from the newest snapshot."


def test_failures_without_a_new_snapshot_end_the_job_and_are_named(tmp_path):
    code, lines, runs = play(tmp_path, ["kept:3:kill", "3:kill", "4:kill", "5:kill"])
    # The first run has kept a snapshot, the others nothing.
    assert (code, len(runs)) == (137, 3)
    assert "3 runs in a row have ended without a new snapshot" in lines[-1]
    assert "--resume auto goes on" in lines[-1]


def test_failures_with_new_snapshots_are_no_end(tmp_path):
    plan = [f"kept:{step}:kill" for step in range(4)]
    code, lines, runs = play(tmp_path, [*plan, "9:end"], restarts=1)
    assert (code, len(runs)) == (0, 5)
    assert {line for line in lines if line.startswith("restart")} == {
        "restart 1 of 1: 2 ranks go on from the newest snapshot."
    }


@pytest.mark.parametrize(
    ("plan", "runs"),
    [
        (["early"], 1),  # before any step: nothing to go on from
        (["3:raise", "3:raise"], 2),
        (["kept:3:exit3", "3:exit3"], 2),
        (["3:raise", "early"], 2),
    ],
)
def test_what_the_script_does_wrong_again_is_not_tried_again(tmp_path, plan, runs):
    code, lines, sizes_of_runs = play(tmp_path, plan)
    assert (code, len(sizes_of_runs)) == (3 if "exit3" in plan[0] else 1, runs)
    assert "restart 2" not in "".join(lines)
    if runs > 1:
        assert (
            lines[-1] == "the same again at the same step: it is not tried once more."
        )


def test_an_error_that_comes_at_another_step_is_tried_again(tmp_path):
    code, _, runs = play(tmp_path, ["kept:3:raise", "kept:5:raise", "6:end"])
    assert (code, len(runs)) == (0, 3)


@pytest.mark.parametrize(
    ("plan", "runs", "last"),
    [
        # What a run keeps as it fails does not say that it has got further.
        (["kept:3:raise", "kept:4:raise"], 2, "the same again: it is not tried once"),
        (["kept:3:raise", "kept:4:exit3", "kept:5:raise"], 3, "3 runs in a row have"),
        (["3:raise"], 1, "rank 1/2"),  # nothing kept, and nothing to go on from
        (["kept:3:kill", "kept:4:kill", "kept:5:kill", "kept:6:end"], 4, "restart 1"),
    ],
)
def test_where_no_place_is_known(tmp_path, plan, runs, last):
    code, lines, sizes_of_runs = play(tmp_path, plan, STUB_PLACELESS="1")
    assert (code == 0, len(sizes_of_runs)) == ("end" in plan[-1], runs)
    assert lines[-1].startswith(last)
    assert "train again" not in "".join(lines)


def test_a_rank_that_dies_again_gives_up_its_slot(tmp_path):
    plan = ["2:kill", "2:kill", "2:kill", "2:end"]
    code, _, runs = play(tmp_path, plan, size=3, restarts=3, least=2)
    assert (code, runs) == (0, [3, 3, 2, 2])


def machines(folder, text):
    draft = folder / "draft"
    draft.write_text(text)
    draft.rename(folder / "machines")
    program = folder / "machines.sh"
    program.write_text(f"#!/bin/sh\ncat '{folder}/machines'\n")
    program.chmod(0o755)


def test_a_job_grows_and_shrinks_with_its_machines(tmp_path):
    machines(tmp_path, "localhost slots=1\n")
    plan = ["2:wait", "3:wait", "4:end"]
    with Process(sys.executable, STUB, tmp_path, 1, 2, 1, 3, *plan) as job:
        job.wait_until((tmp_path / "run-0").exists, "the first run")
        machines(tmp_path, "localhost slots=3\n")
        job.wait_until((tmp_path / "run-1").exists, "the second run")
        machines(tmp_path, "127.0.0.1 slots=2\n")
        done = job.ended()
    assert (done.returncode, sizes(tmp_path)) == (0, [1, 3, 2])
    assert "stub: the machines have changed; a snapshot was kept." in done.stderr
    assert "stub: 3 ranks go on from the newest snapshot on localhost." in done.stderr


def test_a_job_waits_for_machines_and_ends_when_none_come(tmp_path):
    machines(tmp_path, "")
    code, lines, runs = play(tmp_path, ["2:end"])
    assert (code, runs) == (STOPPED_CODE, [])
    assert lines[-1].startswith("the job needs 2 ranks. Received: machines for 0")


def test_machines_of_which_none_answers_are_no_reason_to_start_here():
    place = JobHosts((Host("node1", 1), Host("node2", 1)), False)
    kept = Kept({}, lambda: None, lambda: None)
    limits = Limits(2, 1, 2, 3.0)
    job = ElasticJob(Foreground("stub", print), place, 2, limits, kept, None, "")
    assert job.size_of(JobHosts((), False)) == 0
    assert job.size_of(place._replace(hosts=place.hosts[1:])) == 1
