import os
import signal
import sys
from pathlib import Path

import pytest

from fdtcore import atomic_files
from tests.processes import run

ROOT = Path(__file__).parents[2]
KILLED = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from fdtcore import atomic_files

def write(path):
    with open(path, "w") as file:
        file.write("ha")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

atomic_files.whole(write, "best.keras")
"""


def test_a_kill_while_it_is_written_leaves_the_old_file(tmp_path):
    (tmp_path / "best.keras").write_text("old")
    done = run(sys.executable, "-c", KILLED, folder=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "best.keras").read_text() == "old"
    [left] = [p for p in tmp_path.iterdir() if p.name != "best.keras"]
    assert left.read_text() == "ha"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    place = tmp_path / "best.weights.h5"
    place.write_text("old")

    def write(path):
        Path(path).write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_files.whole(write, place)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [
        ("best.weights.h5", "old")
    ]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_writer_gets_the_kind_of_path_that_was_given(tmp_path, kind):
    seen = []

    def write(path):
        seen.append(path)
        Path(path).write_text("new")
        return "result"

    place = kind(tmp_path / "best.keras")
    assert atomic_files.whole(write, place) == "result"
    assert Path(place).read_text() == "new"
    assert isinstance(seen[0], kind) and str(seen[0]).endswith(".keras")
    assert Path(seen[0]) != Path(place)


@pytest.mark.parametrize(
    ("filepath", "overwrite"),
    [("folder", True), ("gs://bucket/best.keras", True), (__file__, False)],
)
def test_what_cannot_be_moved_is_written_in_place(filepath, overwrite):
    assert (
        atomic_files.whole(lambda path: path, filepath, overwrite=overwrite) == filepath
    )


def test_a_file_that_must_not_be_lost_is_asked_about(tmp_path):
    place = tmp_path / "best.keras"
    place.write_text("old")
    assert atomic_files.whole(lambda path: path, place, overwrite=False) == place
    assert os.listdir(tmp_path) == ["best.keras"]
