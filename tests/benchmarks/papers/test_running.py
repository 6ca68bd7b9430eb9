"""Runs go on after an interruption, and none is done twice."""

import pytest

from benchmarks.papers import records, running, training
from tests.benchmarks.papers.made_up_runs import outcome, run

RUNS = [run(seed=seed) for seed in range(5)]


@pytest.fixture
def trained(monkeypatch):
    """Trains nothing, and notes who was trained; seed 3 is interrupted once."""
    done = []

    def train(run):
        done.append(run.seed)
        if done.count(3) == 1 and run.seed == 3:
            raise KeyboardInterrupt
        return outcome(run.seed / 10, loss=None)

    monkeypatch.setattr(training, "train", train)
    return done


def test_what_is_there_is_not_done_again(tmp_path, trained):
    path, told = tmp_path / "results" / "x.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        running.complete(RUNS, path, 1, told.append)
    assert list(records.read(path)) == RUNS[:3]
    running.complete(RUNS, path, 1, told.append)
    assert trained == [0, 1, 2, 3, 3, 4]
    found = records.read(path)
    assert [found[one].accuracy for one in RUNS] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert "3 of 5 runs are there already" in told
    assert told[-1].startswith("2/2") and "0 min left" in told[-1]


def test_a_line_that_was_cut_off_is_of_no_run(tmp_path):
    path = tmp_path / "x.jsonl"
    for one in RUNS[:2]:
        records.append(path, one, outcome())
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert list(records.read(path)) == RUNS[:1]
    records.append(path, RUNS[1], outcome())
    assert path.read_text() == whole


def test_a_result_comes_back_as_it_was_written(tmp_path):
    one, found = run(drops=(0.5, 0.75)), outcome(0.25, losses=(2.0, None))
    records.append(tmp_path / "x.jsonl", one, found)
    assert records.read(tmp_path / "x.jsonl") == {one: found}
