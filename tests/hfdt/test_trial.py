"""How `hfdt doctor` judges its trial jobs, with real processes for the time limit."""

import importlib.util
import json
import sys

import pytest

from hfdt.install import trial
from hfdt.install.install import check_installed
from tests.hfdt.stacks import program

TOLD = {"size": 2, "mpi": True, "gloo": True, "nccl": False}


def output(**changes: object) -> str:
    return f"chatter\n[1,0]<stdout>: {trial.MARK}{json.dumps({**TOLD, **changes})}\n"


def test_a_right_sum_tells_what_horovod_has():
    done = trial.judge(output(), 0, 1.5)
    assert done == trial.Trial(None, 1.5, ("mpi", "gloo"))


def test_processes_that_do_not_find_each_other_are_a_problem():
    done = trial.judge(output(size=1), 0, 1.0)
    assert done.problem == "2 processes started as jobs of 1"


def test_no_result_is_a_problem():
    assert trial.judge("nothing\n", 0, 1.0).problem == "the job ended without a result"


def test_failure_shows_the_error_not_the_launchers_banner():
    text = "Traceback:\nImportError: libmpi.so.40\n-----\nprterun detected that\n"
    assert trial.judge(text, 1, 1.0).problem == "exit code 1: ImportError: libmpi.so.40"


def test_a_launcher_that_is_not_there_is_a_problem():
    assert "No such file" in (trial.run(["/no/such/mpirun"]).problem or "")


def test_an_mpirun_that_does_not_answer_is_a_problem(tmp_path, monkeypatch):
    mpirun = program(tmp_path, "mpirun", "symbol lookup error")
    monkeypatch.setattr(trial, "find_mpirun", lambda python, path: str(mpirun))
    assert "symbol lookup error" in (trial.over_mpi().problem or "")


def test_no_mpirun_is_a_problem(monkeypatch):
    monkeypatch.setattr(trial, "find_mpirun", lambda python, path: None)
    assert trial.over_mpi().problem == "there is no mpirun"


def test_a_job_that_hangs_is_ended():
    script = "import subprocess, sys; subprocess.run(['sleep', '1e6'])"
    done = trial.run([sys.executable, "-c", script], time_limit_s=1.0)
    assert done.problem == "no answer within 1 s"


@pytest.mark.horovod
@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("horovod") is None, reason="Horovod is not installed"
)
@pytest.mark.parametrize("attempt", [trial.over_mpi, trial.over_gloo])
def test_two_real_processes_reduce(attempt):
    assert check_installed() is None
    done = attempt()
    assert done.problem is None
    assert {"mpi", "gloo"} <= set(done.built)
