"""The quick form of every claim: the code of the full one, on made-up data."""

import pytest
from click.testing import CliRunner

from benchmarks.papers import records
from benchmarks.papers.__main__ import CLAIMS
from benchmarks.papers.command import command


def invoke(claim, folder, *more):
    done = CliRunner().invoke(
        command([claim], ""), ["--quick", "--output", str(folder), *more]
    )
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_quick_form_writes_results_table_and_picture(claim, tmp_path, small_data):
    pytest.importorskip("matplotlib")
    invoke(claim, tmp_path)
    assert list(records.read(tmp_path / f"{claim.name}.jsonl")) == claim.runs(True)
    page = (tmp_path / f"{claim.name}.md").read_text()
    assert "The quick form" in page and "| ---" in page
    picture = tmp_path / f"{claim.name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    assert " min left" not in invoke(claim, tmp_path)  # nothing is left to train
    assert picture.exists()


def test_a_page_alone_needs_no_training(tmp_path):
    invoke(CLAIMS[-1], tmp_path, "--only-report")
    assert [path.suffix for path in tmp_path.iterdir()] == [".md"]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_full_form_is_ordered_by_seed_and_has_three(claim):
    runs = claim.runs(False)
    assert len(set(runs)) == len(runs)
    seeds = [run.seed for run in runs]
    assert seeds == sorted(seeds) and set(seeds) == {0, 1, 2}
