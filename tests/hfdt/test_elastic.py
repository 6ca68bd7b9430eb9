"""Jobs that lose ranks and go on by themselves: they end as one that does not."""

import re
import signal

import pytest
from click.testing import CliRunner

from hfdt import cli
from hfdt.telemetry import report
from tests.hfdt.real_jobs import RUN
from tests.hfdt.test_resume import JOB, expect_same, life
from tests.processes import Process, run

ELASTIC = ("--restarts", "2", "--snapshot-every", "4steps")


@pytest.mark.long
@pytest.mark.horovod
@pytest.mark.slow
def test_a_job_that_loses_ranks_ends_as_one_that_does_not(tmp_path):
    assert life(tmp_path, 2, JOB, out="undisturbed").returncode == 0
    # One that is killed, one that is stopped for ever, and one that is killed again
    # before there is a new snapshot.
    kill = f"1:9,1:14:{signal.SIGSTOP},2:7,2:8"
    environ = {"KILL_RANK": "1", "HFDT_STALL_TIMEOUT": "8"}
    done = life(tmp_path, 2, *ELASTIC, JOB, kill=kill, time_limit_s=900, **environ)
    assert done.returncode == 0, done.stderr
    expect_same(tmp_path)
    assert "restart 2 of 2: 2 ranks go on" in done.stderr
    assert done.stderr.count("2 ranks train again") == 4
    assert re.search(r"goes on in fit 1, epoch \d, batch \d\. \d batch", done.stderr)
    assert "stopped by a signal (SIGSTOP" in done.stderr


@pytest.mark.long
@pytest.mark.horovod
@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_no_rank(tmp_path):
    words = ("-np", "2", *ELASTIC, JOB)
    environ = {"OUT": tmp_path / "out", "KILL": "1:9", "KILL_RANK": "1"}
    with Process(*RUN, *words, folder=tmp_path, **environ) as job:
        job.wait_until(lambda: "train again" in job.errors, "the second run")
        job.send(signal.SIGKILL)
        job.ended()
        assert job.left() == {}


@pytest.mark.horovod
@pytest.mark.slow
def test_a_job_shrinks_and_keeps_its_numbers(tmp_path):
    assert life(tmp_path, 1, JOB, "any", out="undisturbed").returncode == 0
    # The same rank dies twice before a new snapshot: its slot is given up.
    words = ("--restarts", "2", "--min-np", "1", "--snapshot-every", "9steps")
    words += ("--trace", "trace")
    kill = {"kill": "1:11,1:12", "KILL_RANK": "1"}
    done = life(tmp_path, 2, *words, JOB, "any", time_limit_s=900, **kill)
    assert done.returncode == 0, done.stderr
    assert "restart 2 of 2: 1 rank goes on from the newest snapshot." in done.stderr
    expect_same(tmp_path, tolerance=1e-5)
    # Of the life on one rank there is nothing to record.
    lines = report.write(tmp_path / "trace").lines
    assert lines[3] == "lives      2, on 2 and 2 ranks"
    assert [line.count("cut off at") for line in lines[5:]] == [1, 1]


REFUSED = {
    "fewer than one": (("-np", "2", "--min-np", "0"), r"Received: 0, 2 and 2\."),
    "a least above": (("-np", "2", "--min-np", "3"), r"Received: 3, 2 and 2\."),
    "a most below": (("-np", "2", "--max-np", "1"), r"Received: 2, 2 and 1\."),
    "negative": (("-np", "2", "--restarts", "-1"), r"Received: -1\. Write 3, or 0"),
    "an engine": (("-np", "2", "--restarts", "1", "--on", "dask"), "Drop these: start"),
    "a time": (
        ("-np", "2", "--restarts", "1", "--start-timeout", "soon"),
        "--start-timeout must be a time > 0",
    ),
    "hosts twice": (
        ("--hosts-from", "/bin/true", "-H", "a:1"),
        "machines must be named once",
    ),
}


PROGRAMS = {
    "none.sh": "none.sh: No such file or directory",
    "/bin/false": "/bin/false: exit code 1",
    "/bin/true": "the number of processes must be given",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_names_no_machine_is_refused(tmp_path, program):
    (tmp_path / "train.py").touch()
    done = run(*RUN, "--hosts-from", program, "train.py", folder=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("hfdt: ") and PROGRAMS[program] in line


@pytest.mark.parametrize("what", REFUSED)
def test_what_contradicts_itself_is_refused(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    words, line = REFUSED[what]
    done = CliRunner().invoke(cli.main, ["run", *words, "train.py"])
    assert done.exit_code == 2
    assert re.search(line, done.stderr), done.stderr
    assert not (tmp_path / "hfdt-logs").exists()
