"""The code of another commit: kept for a while, left out where there is none."""

import subprocess

import pytest

from benchmarks.steps import beside
from benchmarks.steps.measurement import code_of


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(folder), *identity, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository whose file has changed since its first commit, named "first"."""
    folder = tmp_path / "repository"
    (folder / "hfdt").mkdir(parents=True)
    git(folder, "init", "-q")
    for content in ("old", "new"):
        (folder / "hfdt" / "file").write_text(content)
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", content)
        if content == "old":
            git(folder, "tag", "first")
    return folder


def test_the_files_of_a_commit_are_there_until_the_block_ends(repository):
    with beside.kept("first", repository) as found:
        assert (found.packages / "hfdt" / "file").read_text() == "old"
        assert not (found.packages / "benchmarks").exists()
        assert str(found.tree) in git(repository, "worktree", "list")
    assert not found.tree.exists()
    assert str(found.tree) not in git(repository, "worktree", "list")


def test_a_failure_inside_leaves_no_worktree(repository):
    with pytest.raises(KeyError), beside.kept("first", repository):
        raise KeyError
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_commit_that_is_missing_is_said_in_one_line(capsys):
    with code_of("no-such-commit") as found:
        assert found is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rows of no-such-commit are left out: git says: ")


def test_without_git_the_rest_goes_on(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with code_of("HEAD") as found:
        assert found is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "rows of HEAD are left out: there is no git on PATH"
    assert beside.described() == "unknown"


def test_none_is_not_looked_for(capsys):
    with code_of("none") as found:
        assert found is None
    assert capsys.readouterr().err == ""


def test_what_is_measured_is_described(repository):
    clean = beside.described(repository)
    (repository / "hfdt" / "file").write_text("newer")
    assert beside.described(repository) == f"{clean}-dirty"
