"""The command of steps on made-up times: which files, which tables, what fails."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.steps import command
from benchmarks.steps.measurement import WorkSteps
from benchmarks.steps.slopes import Step
from benchmarks.steps.works import WORKS


@pytest.fixture
def made_up(monkeypatch):
    """Makes a step of contender i of a work take 10 + i ms; without those named."""
    failing = set()

    def measure(settings, name):
        names = [n for n in settings.names(name) if n not in failing]
        one = {n: Step(10.0 + i, 0.0, 100.0, None) for i, n in enumerate(names)}
        return WorkSteps(WORKS[name], [one] * settings.rounds)

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "facts", lambda: {"cores": 2})
    monkeypatch.setattr(command.picture, "draw", lambda path, works: None)
    return failing


def invoke(folder, *words):
    words = ("--beside", "none", "--output", str(folder), *words)
    return CliRunner().invoke(command.steps, words)


def test_works_are_judged_and_kept_for_the_next_run(made_up, tmp_path):
    first = invoke(tmp_path, "--work", "deep")
    assert first.exit_code == 0, first.output
    assert "Targets reached: deep: hfdt to copies, step" in first.output
    assert "Targets missed: deep: hfdt to hand, step" in first.output
    assert invoke(tmp_path, "--work", "wide", "--rounds", "1").exit_code == 0
    works = json.loads((tmp_path / "steps.json").read_text())["works"]
    assert {name: len(one["rounds"]) for name, one in works.items()} == {
        "deep": 3,
        "wide": 1,
    }


def test_a_smoke_test_is_not_judged_and_replaces_nothing(made_up, tmp_path):
    done = invoke(tmp_path, "--quick", "--work", "deep")
    assert done.exit_code == 0
    assert "Targets" not in done.output and "verdict" not in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["quick-steps.json"]


def test_a_failed_contender_is_an_error_and_the_rest_is_kept(made_up, tmp_path):
    made_up.add("nfdt")
    done = invoke(tmp_path, "--work", "deep")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == (
        "Error: some contenders failed; their last lines are above"
    )
    works = json.loads((tmp_path / "steps.json").read_text())["works"]
    assert set(works["deep"]["rounds"][0]) == {"copies", "hand", "hfdt", "nfdt-asgd"}


def test_the_part_within_the_whole_benchmark_has_a_file_of_its_own(made_up, tmp_path):
    command.small_steps(1, tmp_path, quick=False)
    works = json.loads((tmp_path / "small-steps.json").read_text())["works"]
    assert set(works) == {"deep", "dense"}
    assert not any(name.endswith("-before") for name in works["deep"]["rounds"][0])
