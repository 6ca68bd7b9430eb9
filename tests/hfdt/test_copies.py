"""Jobs whose disk is lost go on from what another machine has in memory."""

import shutil
import tempfile

import pytest

from fdtcore.snapshots import copies, tensor_file
from tests.hfdt.real_jobs import MPIRUN_PYTHON, NO_STALL_TIMEOUT
from tests.hfdt.test_jobs import HERE
from tests.hfdt.test_resume import JOB, expect_same
from tests.processes import run

pytestmark = [pytest.mark.horovod, pytest.mark.mpi, pytest.mark.slow]
PUT = "the newest snapshot is in the memory of"


@pytest.fixture
def folder(tmp_path):
    """A folder whose ``memory`` is in memory: elsewhere ranks but 0 write nothing."""
    memory = tempfile.mkdtemp(dir=copies.MEMORY)
    (tmp_path / "memory").symlink_to(memory)
    yield tmp_path
    shutil.rmtree(memory)


def life(folder, *words, job=JOB, machines="ab", out="resumed", kill="0:0", **environ):
    """Runs a job on a machine for each rank, until it ends or kills itself."""
    memory = (folder / "memory").resolve()
    return run(
        *(*MPIRUN_PYTHON[:2], len(machines), *MPIRUN_PYTHON[3:]),
        *(HERE / "machines_apart.py", job, *words),
        folder=folder,
        MACHINES=",".join(str(memory / name) for name in machines),
        OUT=folder / out,
        KILL=kill,
        **({"HFDT_SNAPSHOT": "s", "HFDT_RESUME": "auto"} | environ),
        HFDT_SNAPSHOT_EVERY="1steps",
        **NO_STALL_TIMEOUT,
    )


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("**/*.safetensors")}


@pytest.mark.long  # six lives of a job
def test_a_job_goes_on_wherever_its_newest_snapshot_is(folder):
    done = life(folder, out="undisturbed", HFDT_SNAPSHOT="u")
    assert done.returncode == 0, done.stderr
    assert files(folder / "u")
    assert not [*folder.glob("memory/[ab]/*")]  # no copy is needed any more

    done = life(folder, kill="2:9", KILL_RANK="0")
    assert done.returncode, done.stderr
    kept, copied = files(folder / "s"), files(folder / "memory/b")
    common = kept.keys() & copied.keys()
    assert "fit-0001.safetensors" in common
    assert len(common) > 1
    assert all(kept[name] == copied[name] for name in common)
    assert not [*folder.glob("memory/a/*")]

    # The disk has lost the newest ones; rank 1 sends its own.
    for path in (folder / "s").glob("*.safetensors"):
        path.unlink()
    done = life(folder, kill="3:5", KILL_RANK="0")
    assert done.returncode, done.stderr
    assert PUT in done.stderr, done.stderr
    assert "goes on in fit 2" in done.stderr

    # All of it is lost, with its machine: rank 0 is where the copies are.
    shutil.rmtree(folder / "s")
    done = life(folder, machines="bc", kill="4:10", KILL_RANK="0")
    assert PUT in done.stderr, done.stderr
    assert "goes on in fit 3" in done.stderr
    assert not [*folder.glob("memory/b/*")]  # they are on its disk now
    # This machine has had none, and gets what was over before.
    assert {"fit-0001.safetensors", "fit-0002.safetensors"} <= files(
        folder / "memory/c"
    ).keys()

    done = life(folder, machines="bc")
    assert done.returncode == 0, done.stderr
    assert PUT not in done.stderr
    expect_same(folder)
    assert not [*folder.glob("memory/[bc]/*")]


def test_large_arrays_of_callbacks_are_those_of_rank_0(folder):
    done = life(folder, job=HERE / "copies_job.py")
    kept, copied = files(folder / "s"), files(folder / "memory/b")
    common = kept.keys() & copied.keys()
    assert common, done.stderr
    assert all(kept[name] == copied[name] for name in common)
    held = tensor_file.parse(copied[max(common)]).arrays
    large = [a for name, a in held.items() if a.nbytes > 10_000 and "value" in name]
    assert [a.shape for a in large] == [(10_000,), (100, 100)]
    assert large[0][0] == round(large[0][0]) > 5


@pytest.mark.long
def test_one_machine_that_is_left_has_all(folder):
    done = life(folder, "any", machines="a", out="undisturbed", HFDT_SNAPSHOT="u")
    assert done.returncode == 0, done.stderr
    life(folder, "any", machines="ab", kill="2:7", KILL_RANK="0")
    shutil.rmtree(folder / "s")
    done = life(folder, "any", machines="b")
    assert done.returncode == 0, done.stderr
    assert PUT in done.stderr, done.stderr
    assert "goes on in fit 2" in done.stderr
    expect_same(folder, tolerance=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("resume", ["auto", ""])
def test_copies_of_a_folder_that_was_emptied_do_not_come_back(folder, resume):
    life(folder, kill="1:9", KILL_RANK="0")
    before = files(folder / "memory/b")
    assert before
    shutil.rmtree(folder / "s")
    done = life(folder, kill="1:5", KILL_RANK="0", out="anew", HFDT_RESUME=resume)
    assert PUT not in done.stderr
    assert "goes on" not in done.stderr
    after = files(folder / "memory/b")
    assert after
    assert not before.items() & after.items()
