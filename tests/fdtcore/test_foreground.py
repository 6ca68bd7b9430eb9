import os
import sys
from pathlib import Path

import pytest

from fdtcore.failures import Failure, read_record, write_record
from fdtcore.launcher import foreground
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.foreground import Foreground
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.launchers import Direct, Job, OpenMpi
from fdtcore.launcher.supervisor import Outcome

MPIRUN = OpenMpi("mpirun")


@pytest.fixture
def job(tmp_path, monkeypatch, no_process):
    """Runs a job of which only the launching is real."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(foreground.settings, "available_cores", lambda: 2)
    calls = {"said": [], "outcome": Outcome(0, 0, 0, None)}

    def supervise(argv, environ, *, filtered, failed, **others):
        calls.update(argv=argv, environ=environ, filtered=filtered, failed=failed())
        if "failure" in calls:
            write_record(environ["HFDT_JOB_DIR"], calls["failure"])
            calls["failed"] = failed()
        return calls["outcome"]

    def run(size, launcher, environ, directory=None, **words):
        made = Foreground("hfdt", calls["said"].append, **words)
        job = Job(("rank",), size, words.pop("hosts", ()))
        calls["code"] = made.run(job, launcher, environ, directory)
        return calls

    monkeypatch.setattr(foreground, "supervise", supervise)
    run.calls = calls
    return run


def test_one_process_gets_no_folder(job):
    calls = job(1, Direct(), {"HFDT_JOB_DIR": "/of/another/job"})
    assert "HFDT_JOB_DIR" not in calls["environ"]
    assert calls["said"] == []
    assert not list(Path().iterdir())


def test_several_get_a_folder_and_are_told_so_in_one_line(job):
    calls = job(2, MPIRUN, {})
    [folder] = Path("hfdt-logs").iterdir()
    assert calls["environ"]["HFDT_JOB_DIR"] == str(folder.absolute())
    assert calls["said"] == [f"output of rank 1 goes to {folder / 'rank-1.log'}"]


def test_more_ranks_than_cores_are_warned_of_once(job):
    [warning, _] = job(3, MPIRUN, {})["said"]
    assert warning.startswith("3 ranks share the 2 cores of this machine.")


def test_a_folder_used_before_does_not_tell_of_its_old_failure(job):
    failure = Failure(1, 2, "a", "ValueError", "old")
    write_record(".", failure)
    calls = job(2, MPIRUN, {}, Path("."))
    assert not calls["failed"]
    assert len(calls["said"]) == 1


def test_a_failure_of_this_job_is_the_last_thing_said(job):
    job.calls["failure"] = Failure(1, 2, "a", "ValueError", "bad")
    job.calls["outcome"] = Outcome(1, 0, 0, None)
    calls = job(2, MPIRUN, {}, Path("logs"))
    assert calls["failed"]
    assert calls["code"] == 1
    assert calls["said"][-1].startswith("rank 1/2 (a) failed: ValueError: bad.")
    assert read_record("logs").message == "bad"


def test_a_rank_of_which_mpirun_alone_tells_is_recorded(job):
    job.calls["outcome"] = Outcome(137, 0, 0, Ended(1, "a", 137, 9))
    calls = job(2, MPIRUN, {}, Path("logs"))
    assert calls["code"] == 137
    found = read_record("logs")
    assert (found.rank, found.size, found.host, found.kind) == (1, 2, "a", "gone")
    assert found.message == calls["said"][-1]


def test_a_file_in_the_way_of_the_folder_is_refused(job):
    Path("logs").touch()
    with pytest.raises(ValueError, match=r"logs: File exists\. Choose one: --output"):
        job(2, MPIRUN, {}, Path("logs"))


def test_standard_output_that_is_a_file_is_told_to_the_ranks(job, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "HFDT_PLAIN" not in job(2, MPIRUN, {})["environ"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert job(2, MPIRUN, {})["environ"]["HFDT_PLAIN"] == "1"


def test_verbose_filters_nothing(job):
    assert job(2, MPIRUN, {})["filtered"]
    assert not job(2, MPIRUN, {}, verbose=True)["filtered"]
    assert not job(1, Direct(), {})["filtered"]


def test_root_may_use_open_mpi(job, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert job(2, MPIRUN, {})["environ"]["OMPI_ALLOW_RUN_AS_ROOT"] == "1"


def test_a_launcher_that_cannot_be_started_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mpirun").write_text("not executable")
    job = Job(("rank",), 2, (Host("localhost", 2),))
    with pytest.raises(ValueError, match=r"\./mpirun: Permission denied"):
        Foreground("hfdt", print).run(job, OpenMpi("./mpirun"), {}, None)
