"""The frameworks as they were at another commit, to run in the same rounds."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.launches import ROOT

PACKAGES = ("fdtcore", "hfdt", "nfdt")
START = "78356ec"  # before steps were made cheaper


class Beside(NamedTuple):
    """The code of another commit."""

    commit: str
    tree: Path  # all of it
    packages: Path  # the frameworks alone, so that scripts are this commit's


class NoCommit(RuntimeError):
    """There is no such commit, or no git to ask."""


@contextlib.contextmanager
def kept(commit: str, root: Path = ROOT) -> Iterator[Beside]:
    """Keep the files of a commit in a temporary folder, until the block ends.

    Args:
        commit: Any name that git knows.
        root: Folder of the repository.

    Raises:
        NoCommit: There is none; the message is one line.
    """
    with tempfile.TemporaryDirectory(prefix="fdt-steps-") as folder:
        tree, packages = Path(folder, "tree"), Path(folder, "packages")
        _git(root, "worktree", "add", "--detach", str(tree), commit)
        try:
            packages.mkdir()
            for name in PACKAGES:
                (packages / name).symlink_to(tree / name)
            yield Beside(commit, tree, packages)
        finally:
            # What is left is a name in the repository, which git prunes some day.
            with contextlib.suppress(NoCommit):
                _git(root, "worktree", "remove", "--force", str(tree))


def described(root: Path = ROOT) -> str:
    """Return the commit that is measured, and whether files differ from it."""
    try:
        return _git(root, "describe", "--always", "--dirty")
    except NoCommit:
        return "unknown"


def _git(root: Path, *words: str) -> str:
    """Return what git prints."""
    git = shutil.which("git")
    if git is None:
        raise NoCommit("there is no git on PATH")
    done = subprocess.run(
        [git, "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NoCommit(f"git says: {lines[-1]}")
    return done.stdout.strip()
