"""Copies of snapshots in memory: their folder, and which of all snapshots counts."""

import os
import stat
import sys

import numpy as np
import pytest

from fdtcore.snapshots import copies, folder, tensor_file
from fdtcore.snapshots.copies import Copies, Offer
from fdtcore.snapshots.folder import SnapshotFolder
from fdtcore.snapshots.tensor_file import Content
from tests.processes import run


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """A machine's memory, which is a folder here."""
    path = tmp_path / "memory"
    path.mkdir()
    monkeypatch.setattr(copies, "MEMORY", path)
    return path


def content(value=1.0, epoch=0, step=0):
    position = {"epoch": epoch, "step": step}
    about = {"format": folder.FORMAT, "position": position}
    return Content({"w": np.full(3, value)}, about)


def names(path):
    return sorted(p.name for p in path.iterdir() if p.name != "lock")


def test_the_copies_of_a_folder_are_of_this_user_alone(memory):
    found = Copies("/data/s")
    assert [found.path] == list(memory.iterdir())
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o700
    assert str(os.getuid()) in found.path.name.split("-")
    assert copies.are_there("/data/s")
    assert not copies.are_there("/data/t")


def test_the_next_run_finds_what_is_there():
    first = Copies("/data/s")
    first.keep_fit(1, content(1.0))
    first.keep_step(2, content(2.0, epoch=3, step=4), 7)
    first.close()
    found = Copies("/data/s").find(print)
    assert found.progress == [1, 1, 3, 4]
    assert found.step.arrays["w"][0] == 2.0
    assert found.place.name == "step-0002-00000007.safetensors"


def test_copies_of_another_folder_are_not_touched():
    one, other = Copies("/data/s"), Copies("/data/t")
    one.keep_step(1, content())
    other.keep_step(1, content())
    one.clear()
    assert names(one.path) == []
    one.remove()
    assert not one.path.exists()
    assert names(other.path) == ["step-0001-00000001.safetensors"]


def test_there_are_never_more_than_two(monkeypatch):
    store, most = Copies("/data/s"), []
    inner = os.replace

    def replace(*paths):
        most.append(len(names(store.path)))  # with the one that is being written
        return inner(*paths)

    monkeypatch.setattr(os, "replace", replace)
    for number in (1, 2, 3, 5):
        store.keep_step(1, content(), number)
    assert max(most) == 2
    assert names(store.path) == [f"step-0001-0000000{i}.safetensors" for i in (3, 5)]


def test_what_all_go_on_from_stands_alone():
    store = Copies("/data/s")
    store.keep_step(1, content(1.0), 8)  # by a run that was further, and is forgotten
    store.keep_step(1, content(2.0), 9)
    store.go_on_from(1, content(3.0), 4)
    assert store.find(print).step.arrays["w"][0] == 3.0
    assert names(store.path) == ["step-0001-00000004.safetensors"]


@pytest.mark.parametrize("kind", ["open to others", "a file", "a link"])
def test_a_folder_that_others_may_have_made_is_refused(kind, tmp_path):
    path = copies.path_of("/data/s")
    if kind == "open to others":
        path.mkdir()
        path.chmod(0o755)
    elif kind == "a file":
        path.touch()
    else:
        own = tmp_path / "elsewhere"
        own.mkdir(mode=0o700)
        path.symlink_to(own)
    with pytest.raises(OSError, match="is not of this user alone"):
        Copies("/data/s")


def test_without_such_memory_there_are_no_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "MEMORY", tmp_path / "none")
    assert copies.memory_id() == ""
    with pytest.raises(OSError, match="No such file"):
        Copies("/data/s")


def test_half_of_the_memory_is_left_to_others(memory, monkeypatch):
    free_bytes = [4 * 24]
    found = os.statvfs(memory)

    class Free:
        f_frsize = 1
        f_bavail = property(lambda self: free_bytes[0])

    assert found.f_bavail
    store = Copies("/data/s")
    monkeypatch.setattr(os, "statvfs", lambda path: Free())
    store.keep_step(1, content())  # has 24 bytes
    free_bytes[0] = 47
    for keep in (store.keep_step, store.keep_fit):
        with pytest.raises(OSError, match="left it may take half"):
            keep(1, content())
    assert len(names(store.path)) == 1  # the older one stays


def test_two_jobs_do_not_share_copies():
    program = (
        "import sys; from pathlib import Path; from fdtcore.snapshots import copies\n"
        "copies.MEMORY = Path(sys.argv[1])\n"
        "try: copies.Copies('/data/s', 0.0)\n"
        "except ValueError as error: print(error)"
    )
    store = Copies("/data/s")
    said = run(sys.executable, "-c", program, copies.MEMORY).stdout
    assert f"which process {os.getpid()} on" in said
    store.remove()
    assert run(sys.executable, "-c", program, copies.MEMORY).stdout == ""


def test_memories_differ_where_their_folders_do(tmp_path, monkeypatch):
    here = copies.memory_id()
    assert here == copies.memory_id() != ""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(copies, "MEMORY", other)
    assert copies.memory_id() != here


NOW, BEFORE = 20, 10  # when a job began, and one before it
DISK = Offer(0, True, NOW, "a", [0, 2, 5])
CHOICES = {
    "nothing": ([], 0, None, None),
    "the folder alone": ([DISK], NOW, None, 0),
    "as far": ([DISK._replace(rank=1, is_original=False), DISK], NOW, None, 1),
    "a copy that is further": (
        [DISK, Offer(1, False, NOW, "a", [0, 3, 0]), Offer(2, False, NOW, "a", [0, 2])],
        *(NOW, None, 1),
    ),
    "a fit that is over": (
        [DISK, Offer(1, False, NOW, "a", [1, 0, 0])],
        *(NOW, None, 1),
    ),
    "another job's": ([DISK, Offer(1, False, BEFORE, "a", [9, 0, 0])], NOW, None, 0),
    "a folder that is of a job, and empty": (
        [Offer(1, False, BEFORE, "a", [9, 0, 0])],
        *(NOW, None, None),
    ),
    "the folder is lost": (
        [Offer(1, False, BEFORE, "a", [9, 0, 0]), Offer(2, False, NOW, "b", [0, 1, 0])],
        *(0, None, 1),
    ),
    "the folder was emptied on the machine it was of": (
        [Offer(1, False, NOW, "a", [0, 1, 0])],
        *(0, "a", None),
    ),
    "the folder was on a machine that is lost": (
        [Offer(0, False, NOW, "a", [0, 1, 0])],
        *(0, "b", 0),
    ),
    "a disk of another machine": (
        [Offer(1, True, NOW, "b", [0, 4, 0]), Offer(0, False, NOW, "a", [0, 3, 0])],
        *(0, "c", 0),
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_furthest_snapshot_of_the_job_is_taken(case):
    offers, job, gone, place = CHOICES[case]
    expected = None if place is None else offers[place]
    assert copies.choose(offers, job, gone) == expected


def test_a_snapshot_of_another_folder_becomes_the_newest(tmp_path):
    there, here = SnapshotFolder(tmp_path / "there"), SnapshotFolder(tmp_path / "here")
    path = there.keep_step(1, content(5.0), 3)
    for number in (1, 2):
        here.keep_step(1, content(1.0), number)
    here.put(path.name, [path.read_bytes()])
    assert here.find(print).place.name == path.name
    here.keep_step(1, content(1.0), 8)
    here.put(path.name, [path.read_bytes()])
    assert here.find(print).step.arrays["w"][0] == 5.0
    assert here.number(1) == 10
    there.keep_fit(1, content(6.0))
    here.put("fit-0001.safetensors", [there.of_fit(1).read_bytes()])
    assert here.find(print).progress == [1, 0, 0, 0]


def test_a_folder_knows_its_job_until_it_is_emptied(tmp_path):
    store = SnapshotFolder(tmp_path / "s")
    assert (store.is_new, store.job) == (True, 0)
    store.belong_to(17)
    store.close()
    again = SnapshotFolder(tmp_path / "s")
    assert (again.is_new, again.job) == (False, 17)
    for path in again.path.iterdir():
        path.unlink()
    again.close()
    assert SnapshotFolder(tmp_path / "s").is_new
    assert tensor_file.size_bytes(content()) == 24
