"""Steps measured in real runs of a few batches, and what the command says."""

import json
import os

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.steps import works
from benchmarks.steps.measurement import run
from benchmarks.steps.settings import StepSettings
from benchmarks.steps.works import Fit, StepWork

FITS = (Fit(2, 1), Fit(2, 1), Fit(2, 3))


def work(data, *contenders):
    return StepWork("deep", "a title", "deep", 32, FITS, contenders, data)


@pytest.mark.slow
def test_every_step_of_plain_keras_is_an_update():
    settings = StepSettings((), rounds=1, quick=True)
    found = run(settings, work("pydataset", "alone"), "alone")
    assert (found.updates, found.code) == (10, "")


@pytest.mark.slow
@pytest.mark.horovod
def test_a_work_is_measured_shown_and_written(tmp_path, monkeypatch):
    monkeypatch.setitem(works.WORKS, "deep", work("generator", "hand", "hfdt"))
    words = ("steps", "--quick", "--work", "deep", "--beside", "none")
    done = CliRunner().invoke(main, [*words, "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "a title" in done.output and "by hand, one grouped allreduce" in done.output
    found = json.loads((tmp_path / "quick-steps.json").read_text())["works"]["deep"]
    assert set(found["rounds"][0]) == {"hand", "hfdt"}
    assert (found["processes"], found["beside"]) == (2, None)


def test_more_processes_than_cores_are_refused():
    cores = len(os.sched_getaffinity(0))
    done = CliRunner().invoke(main, ["steps", "--processes", str(cores + 1)])
    assert done.exit_code == 2
    assert done.output.splitlines()[-1] == (
        f"Error: --processes must be at most the cores of this machine, {cores}. "
        f"Received: {cores + 1}. Take --processes {cores}, or a machine with more."
    )
