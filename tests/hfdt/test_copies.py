"""Jobs whose disk is lost go on from what another machine has in memory."""

import shutil

import pytest

from fdtcore.snapshots import tensor_file
from tests.hfdt.real_jobs import MPIRUN_PYTHON, NO_STALL_TIMEOUT
from tests.hfdt.test_jobs import HERE
from tests.hfdt.test_resume import JOB, expect_same
from tests.processes import run

pytestmark = [pytest.mark.horovod, pytest.mark.mpi, pytest.mark.slow]
PUT = "the newest snapshot is in the memory of"


def life(folder, *words, job=JOB, machines="ab", out="resumed", kill="0:0", **environ):
    """Runs a job on a machine for each rank, until it ends or kills itself."""
    return run(
        *(*MPIRUN_PYTHON[:2], len(machines), *MPIRUN_PYTHON[3:]),
        *(HERE / "machines_apart.py", job, *words),
        folder=folder,
        MACHINES=",".join(str(folder / name) for name in machines),
        OUT=folder / out,
        KILL=kill,
        **({"HFDT_SNAPSHOT": "s", "HFDT_RESUME": "auto"} | environ),
        HFDT_SNAPSHOT_EVERY="1steps",
        **NO_STALL_TIMEOUT,
    )


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("**/*.safetensors")}


def test_a_job_goes_on_wherever_its_newest_snapshot_is(tmp_path):
    done = life(tmp_path, out="undisturbed", HFDT_SNAPSHOT="u")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "u")
    assert not [*tmp_path.glob("[ab]/*")]  # no copy is needed any more

    done = life(tmp_path, kill="2:9", KILL_RANK="0")
    assert done.returncode, done.stderr
    kept, copied = files(tmp_path / "s"), files(tmp_path / "b")
    common = kept.keys() & copied.keys()
    assert "fit-0001.safetensors" in common
    assert len(common) > 1
    assert all(kept[name] == copied[name] for name in common)
    assert not [*tmp_path.glob("a/*")]

    # The disk has lost the newest ones; rank 1 sends its own.
    for path in (tmp_path / "s").glob("*.safetensors"):
        path.unlink()
    done = life(tmp_path, kill="3:9", KILL_RANK="0")
    assert PUT in done.stderr, done.stderr
    assert "goes on in fit 2" in done.stderr

    # All of it is lost, with its machine: rank 0 is where the copies are.
    shutil.rmtree(tmp_path / "s")
    done = life(tmp_path, machines="bc", kill="4:9", KILL_RANK="0")
    assert PUT in done.stderr, done.stderr
    assert "goes on in fit 3" in done.stderr
    assert not [*tmp_path.glob("b/*")]  # they are on its disk now
    # This machine has had none, and gets what was over before.
    assert {"fit-0001.safetensors", "fit-0002.safetensors"} <= files(
        tmp_path / "c"
    ).keys()

    done = life(tmp_path, machines="bc")
    assert done.returncode == 0, done.stderr
    assert PUT not in done.stderr
    expect_same(tmp_path)
    assert not [*tmp_path.glob("[bc]/*")]


def test_large_arrays_of_callbacks_are_those_of_rank_0(tmp_path):
    done = life(tmp_path, job=HERE / "copies_job.py")
    kept, copied = files(tmp_path / "s"), files(tmp_path / "b")
    common = kept.keys() & copied.keys()
    assert common, done.stderr
    assert all(kept[name] == copied[name] for name in common)
    held = tensor_file.parse(copied[max(common)]).arrays
    large = [a for name, a in held.items() if a.nbytes > 10_000 and "value" in name]
    assert [a.shape for a in large] == [(10_000,), (100, 100)]
    assert large[0][0] == round(large[0][0]) > 5


def test_one_machine_that_is_left_has_all(tmp_path):
    done = life(tmp_path, "any", machines="a", out="undisturbed", HFDT_SNAPSHOT="u")
    assert done.returncode == 0, done.stderr
    life(tmp_path, "any", machines="ab", kill="2:7", KILL_RANK="0")
    shutil.rmtree(tmp_path / "s")
    done = life(tmp_path, "any", machines="b")
    assert done.returncode == 0, done.stderr
    assert PUT in done.stderr, done.stderr
    assert "goes on in fit 2" in done.stderr
    expect_same(tmp_path, tolerance=1e-5)


@pytest.mark.parametrize("resume", ["auto", ""])
def test_copies_of_a_folder_that_was_emptied_do_not_come_back(tmp_path, resume):
    life(tmp_path, kill="1:9", KILL_RANK="0")
    before = files(tmp_path / "b")
    assert before
    shutil.rmtree(tmp_path / "s")
    done = life(tmp_path, kill="1:5", KILL_RANK="0", out="anew", HFDT_RESUME=resume)
    assert PUT not in done.stderr
    assert "goes on" not in done.stderr
    after = files(tmp_path / "b")
    assert after
    assert not before.items() & after.items()
