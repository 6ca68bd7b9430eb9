"""Jobs that lose servers and go on by themselves: every batch counts once."""

import json
import re
import signal

import numpy as np
import pytest

from fdtcore.snapshots.stop_requests import STOPPED_CODE
from tests.hfdt.real_jobs import Job
from tests.nfdt import real_runs
from tests.nfdt.real_runs import FITS, RUN

LIVES = FITS.with_name("lives.py")
OFTEN = ("--checkpoint-every", "100ms")
pytestmark = [pytest.mark.mpi, pytest.mark.slow]


def life(folder, case, *words, np=2, happens="", command=RUN, **environ):
    """Runs a job to its end; nothing of it may be left."""
    folder.mkdir(exist_ok=True)
    environ = {"HAPPENS": happens, "MARKS": str(folder / "mark"), **environ}
    words = (*command, "-np", np, *words, LIVES, case)
    # It is several jobs, one after the other.
    job = Job(folder, *words, **environ)
    assert job.left() == [], job.text
    return job


def ended(job):
    [text] = re.findall(r"^ended (.*)$", job.text, re.MULTILINE)
    return json.loads(text)


def expect_all_once(job):
    """The job has ended well, and has merged every batch of every epoch once."""
    assert job.code == 0, job.text
    found = ended(job)
    assert found["weights"] == [1.0] * len(found["weights"])
    assert found["epochs"] == [0, 1, 2]


def restarts(job):
    return re.findall(r"^nfdt: (?:restart|the same again).*$", job.text, re.MULTILINE)


def test_a_job_that_loses_its_server_goes_on(tmp_path):
    words = ("--algorithm", "asgd", "--restarts", 2, *OFTEN)
    job = life(tmp_path, "counts", *words, happens="server@1:5")
    expect_all_once(job)
    line = "nfdt: restart 1 of 2: 3 ranks go on from the newest checkpoint."
    assert restarts(job) == [line]
    assert "server 0 (rank 2) is gone" in job.text
    assert "train again" not in job.text


@pytest.mark.long
@pytest.mark.parametrize("what", ["server", "servers"])
def test_of_two_servers_one_is_lost_or_both(tmp_path, what):
    words = ("--algorithm", "asgd", "--servers", 2, "--restarts", 1, *OFTEN)
    job = life(tmp_path, "counts", *words, happens=f"{what}@1:6")
    expect_all_once(job)
    assert len(restarts(job)) == 1


@pytest.mark.long
def test_a_worker_is_lost_and_then_the_server(tmp_path):
    words = ("--algorithm", "asgd", "--restarts", 1, *OFTEN)
    job = life(tmp_path, "counts", *words, happens="kill1@0:3,server@1:4")
    expect_all_once(job)
    assert "worker 1 (rank 1) was lost; 1 worker goes on" in job.text
    assert len(restarts(job)) == 1


@pytest.mark.long
def test_a_worker_that_the_job_is_not_to_go_on_without(tmp_path):
    words = ("--algorithm", "asgd", "--on-worker-loss", "abort", "--restarts", 1)
    job = life(tmp_path, "counts", *words, *OFTEN, happens="kill1@1:4")
    expect_all_once(job)
    assert len(restarts(job)) == 1


def test_one_worker_ends_where_it_would_have_undisturbed(tmp_path):
    words = ("--consistency", "bsp", *OFTEN)
    whole = life(tmp_path / "whole", "learns", *words, np=1)
    again = ("--restarts", 2, *words)
    job = life(
        tmp_path / "cut", "learns", *again, np=1, happens="server@0:9,server@2:7"
    )
    assert job.code == 0, job.text
    assert len(restarts(job)) == 2
    weights = ended(job)["weights"]
    np.testing.assert_allclose(weights, ended(whole)["weights"], rtol=0, atol=1e-6)


@pytest.mark.long
def test_the_limit_of_restarts(tmp_path):
    words = ("--algorithm", "asgd", "--restarts", 1, "--checkpoint-every", "1h")
    job = life(tmp_path, "counts", *words, happens="server@0:3!")
    assert job.code == 1
    assert len(restarts(job)) == 1
    said = job.last_line()
    assert "2 runs in a row have ended without a new checkpoint: server 0" in said
    assert said.count("server 0 (rank 2) is gone") == 2


def test_an_error_of_the_script_before_a_checkpoint_is_not_tried_again(tmp_path):
    job = life(tmp_path, "counts", "--restarts", 3, np=1, happens="raise0@0:0")
    assert job.code == 1
    assert restarts(job) == []


@pytest.mark.long
def test_an_error_that_comes_back_is_tried_once_more(tmp_path):
    words = ("--algorithm", "asgd", "--restarts", 3, *OFTEN)
    job = life(tmp_path, "counts", *words, happens="raise0@1:1!")
    assert job.code == 1
    first, last = restarts(job)
    assert first.startswith("nfdt: restart 1 of 3")
    assert last == "nfdt: the same again: it is not tried once more."


@pytest.mark.long
def test_an_error_that_does_not_come_back_is_no_end(tmp_path):
    words = ("--algorithm", "asgd", "--restarts", 1, *OFTEN)
    job = life(tmp_path, "counts", *words, happens="raise0@1:4")
    expect_all_once(job)


def test_resume_auto_begins_and_goes_on(tmp_path):
    words = ("--algorithm", "asgd", "--checkpoint", "ck", "--resume", "auto", *OFTEN)
    first = life(tmp_path, "counts", *words, happens="server@1:5")
    assert first.code == 1
    assert not re.search("^ended", first.text, re.MULTILINE)
    expect_all_once(life(tmp_path, "counts", *words))


@pytest.mark.long
def test_resume_auto_under_mpirun(tmp_path):
    command = ("mpirun", "--with-ft", "ulfm", "--oversubscribe")
    environ = {
        "NFDT_ALGORITHM": "asgd",
        "NFDT_CHECKPOINT": "ck",
        "NFDT_RESUME": "auto",
        "NFDT_CHECKPOINT_EVERY": "100ms",
    }
    python = ("python", "-m", "nfdt")
    begins = {"np": 3, "command": command, **environ}
    first = life(tmp_path, "counts", *python, happens="server@1:5", **begins)
    assert first.code != 0
    expect_all_once(life(tmp_path, "counts", *python, **begins))


CHECKPOINTS = ("--algorithm", "asgd", "--checkpoint", "ck", "--resume", "auto")


@pytest.mark.parametrize("servers", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "number",
    [
        "SIGTERM",
        pytest.param("SIGINT", marks=pytest.mark.long),
        pytest.param("SIGUSR1", marks=pytest.mark.long),
    ],
)
def test_a_job_that_is_asked_to_end_keeps_a_checkpoint(tmp_path, number, servers):
    words = (*CHECKPOINTS, "--servers", servers)
    act = {"act": lambda process: process.send(getattr(signal, number))}
    first = life(
        tmp_path, "counts", *words, interrupt_at="worker 0 begins epoch 1", **act
    )
    assert first.code == STOPPED_CODE, first.text
    kept = "a checkpoint is in .*ck. The same command with --resume auto goes on."
    assert len(real_runs.said(first, rf"stopped .*; {kept}")) == 1
    assert first.text.count("stopped") == 1
    expect_all_once(life(tmp_path, "counts", *words))


@pytest.mark.long
def test_a_second_ctrl_c_ends_it_at_once(tmp_path):
    def act(process):
        process.send(signal.SIGINT)
        # A worker that does not come back is waited for a little.
        process.wait_for_text("with --resume auto goes on")
        process.send(signal.SIGINT)

    at = {"interrupt_at": "holds", "happens": "hold0@1:3"}
    job = life(tmp_path, "counts", *CHECKPOINTS, **at, act=act)
    assert job.code == 130, job.text
    expect_all_once(life(tmp_path, "counts", *CHECKPOINTS))


@pytest.mark.long
def test_a_worker_that_does_not_come_back_is_not_waited_for(tmp_path):
    at = {"interrupt_at": "holds", "happens": "hold0@1:3"}
    job = life(tmp_path, "counts", *CHECKPOINTS, **at)
    assert job.code == STOPPED_CODE, job.text


@pytest.mark.parametrize(
    "words",
    [
        ("--consistency", "dsp", "--restarts", "1"),
        ("--local-steps", "5"),
        *(
            pytest.param(words, marks=pytest.mark.long)
            for words in (
                ("--consistency", "dsp"),
                ("--local-steps", "5", "--servers", "2"),
                ("--consistency", "ssp:2", "--local-steps", "3"),
                ("--consistency", "ssp:2"),
                ("--overlap",),
            )
        ),
    ],
)
def test_what_a_lost_worker_had_not_merged_is_trained_by_others(tmp_path, words):
    happens = "kill1@1:4" + (",server@2:6" if "--restarts" in words else "")
    words = ("--algorithm", "asgd", *words, *OFTEN)
    expect_all_once(life(tmp_path, "counts", *words, np=3, happens=happens))


def rows(folder):
    lines = (folder / "mark.csv").read_text().splitlines()
    return [line.split(",")[0] for line in lines]


@pytest.mark.long
def test_callbacks_decide_as_in_a_run_that_was_not_disturbed(tmp_path):
    words = ("--consistency", "bsp", *OFTEN)
    whole = life(tmp_path / "whole", "decides", *words, np=1)
    happens = "server@2:5,server@3:9,server@4:16"
    again = ("--restarts", 3, *words)
    job = life(tmp_path / "cut", "decides", *again, np=1, happens=happens)
    assert job.code == 0, job.text
    assert len(restarts(job)) == 3
    found, wanted = ended(job), ended(whole)
    assert wanted["epochs"] == [0, 1, 2, 3, 4]
    for name in ("epochs", "rate", "seen"):
        assert found[name] == wanted[name]
    np.testing.assert_allclose(found["weights"], wanted["weights"], rtol=0, atol=1e-6)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
