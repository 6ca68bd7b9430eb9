"""Jobs that are killed and go on: they end as one that was never disturbed."""

import re
import shutil
import signal
import sys

import numpy as np
import pytest

from fdtcore.snapshots import tensor_file
from fdtcore.snapshots.stop_requests import STOPPED_CODE
from tests.hfdt.real_jobs import MPIRUN_PYTHON, NO_STALL_TIMEOUT, RUN
from tests.hfdt.test_jobs import HERE
from tests.processes import run

JOB, LOOPS = HERE / "resume_job.py", HERE / "loop_job.py"
SNAPSHOT = ("--snapshot", "s", "--resume", "auto", "--snapshot-every", "1steps")
KILLED, STOPPED = 128 + signal.SIGKILL, STOPPED_CODE
pytestmark = [pytest.mark.horovod, pytest.mark.slow, pytest.mark.long]


def life(folder, np_, *words, out="resumed", kill="0:0", **environ):
    """Runs the job until it ends, or kills itself."""
    return run(
        *(*RUN, "-np", np_, *words),
        folder=folder,
        OUT=folder / out,
        KILL=kill,
        **{**NO_STALL_TIMEOUT, **environ},
    )


def result(folder, out):
    with np.load(folder / f"{out}.npz") as file:
        return dict(file), (folder / f"{out}.csv").read_text()


def expect_same(folder, tolerance=0.0):
    before, rows = result(folder, "undisturbed")
    after, rows_after = result(folder, "resumed")
    assert before.keys() == after.keys()
    wrong = [
        name
        for name, value in before.items()
        if not np.allclose(
            value, after[name], rtol=tolerance, atol=tolerance, equal_nan=True
        )
    ]
    assert not wrong
    if not tolerance:
        assert rows == rows_after
    for fit, epochs in (("rows", 3), ("numbered", 2)):
        for metric in ("least", "most"):
            assert after[f"{fit} {metric}"].tolist() == [1.0] * epochs


def test_a_job_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path):
    done = life(tmp_path, 2, JOB, out="undisturbed")
    assert done.returncode == 0, done.stderr
    places = []
    # In each kind of data; in an epoch, behind its last batch, in a validation, before
    # a snapshot has its name; one rank; and when it is asked to end.
    for kill, rank, code in (
        ("1:9", "0", KILLED),
        ("1:test", "1", KILLED),
        ("2:write", "0", KILLED),
        ("3:5:15", "1", STOPPED),
        ("4:10", "1", KILLED),
        ("5:7:10", "0", STOPPED),
        ("6:9", "0", KILLED),
    ):
        done = life(tmp_path, 2, *SNAPSHOT, JOB, kill=kill, KILL_RANK=rank)
        assert done.returncode == code, (kill, done.stderr)
        assert ("goes on." in done.stderr) == (code == STOPPED), done.stderr
        place = re.search(r"goes on in fit 4, epoch (\d), batch (\d)", done.stderr)
        if place:  # of 3 epochs with 6 batches; two are made to know their types
            left = 18 - (6 * (int(place[1]) - 1) + int(place[2]) - 1)
            places.append(left)
            assert f"rank 0 has made {left + 2} batches." in done.stdout
    assert len(places) == 1 and places[0] < 18
    done = life(tmp_path, 2, *SNAPSHOT, JOB)
    assert done.returncode == 0, done.stderr
    assert "goes on in fit 6" in done.stderr
    expect_same(tmp_path)


def test_a_job_goes_on_with_other_numbers_of_ranks(tmp_path):
    done = life(tmp_path, 1, JOB, "any", out="undisturbed")
    assert done.returncode == 0, done.stderr
    for size, kill in ((3, "1:9"), (2, "1:15"), (1, "2:10"), (3, "3:5"), (2, "6:9")):
        done = life(tmp_path, size, *SNAPSHOT, JOB, "any", kill=kill, KILL_RANK="0")
        assert done.returncode == KILLED, (kill, done.stderr)
    done = life(tmp_path, 1, *SNAPSHOT, JOB, "any")
    assert done.returncode == 0, done.stderr
    expect_same(tmp_path, tolerance=1e-5)


@pytest.mark.parametrize(
    "lives",
    [
        # In a first loop's first step, in others, by one rank, and when asked to end.
        ((2, "1:1"), (2, "2:9"), (2, "3:14:15"), (2, "5:8"), (2, "")),
        # Numbers of ranks change, twice in one loop.
        ((3, "1:4"), (1, "1:6"), (2, "3:13"), (3, "5:10"), (1, "")),
    ],
)
def test_loops_by_hand_go_on_at_their_batch(lives, tmp_path):
    sizes = [size for size, _ in lives]
    words = (LOOPS,) if len(set(sizes)) == 1 else (LOOPS, "any")
    done = life(tmp_path, sizes[-1], *words, out="undisturbed")
    assert done.returncode == 0, done.stderr
    for i, (size, kill) in enumerate(lives):
        rank = str(i % 2 if size > 1 else 0)
        given = {"kill": kill or "0:0", "KILL_RANK": rank}
        done = life(tmp_path, size, *SNAPSHOT, *words, **given)
        ended = STOPPED if kill.count(":") == 2 else KILLED
        assert done.returncode == (ended if kill else 0), done.stderr
        assert i < 2 or "hfdt: goes on in loop " in done.stderr
    tolerance = 0.0 if len(words) == 1 else 1e-5
    with (
        np.load(tmp_path / "undisturbed.npz") as one,
        np.load(tmp_path / "resumed.npz") as other,
    ):
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_allclose(
                other[name], one[name], rtol=tolerance, atol=tolerance, err_msg=name
            )


@pytest.mark.parametrize("command", [(sys.executable,), MPIRUN_PYTHON])
def test_a_loop_of_an_explicit_script_goes_on(command, tmp_path):
    def end(out, **environ):
        words = (*command, HERE / "explicit_loop_job.py")
        return run(*words, folder=tmp_path, OUT=tmp_path / f"{out}.npz", **environ)

    assert end("undisturbed").returncode == 0
    shutil.rmtree(tmp_path / "s")
    assert end("resumed", KILL="7").returncode != 0
    done = end("resumed")
    assert done.returncode == 0, done.stderr
    assert "hfdt: goes on in loop 2, batch 3." in done.stderr
    assert (
        "steps 8" in done.stdout
    )  # of the first loop one, and the one before the place
    with (
        np.load(tmp_path / "undisturbed.npz") as one,
        np.load(tmp_path / "resumed.npz") as other,
    ):
        for name in one.files:
            np.testing.assert_array_equal(other[name], one[name])


def test_what_the_ranks_have_not_sent_goes_on(tmp_path):
    job = HERE / "compressed_resume_job.py"
    compression = ("--compression", "dgc:0.05,warmup=1")
    done = life(tmp_path, 3, *compression, job, out="undisturbed", kill="0")
    assert done.returncode == 0, done.stderr
    for kill in ("14", "20"):
        words = (*compression, *SNAPSHOT, job)
        assert life(tmp_path, 3, *words, kill=kill).returncode == KILLED
    done = life(tmp_path, 3, *compression, *SNAPSHOT, job, kill="0")
    assert "goes on in fit 1" in done.stderr
    expected = (tmp_path / "undisturbed").read_bytes()
    assert (tmp_path / "resumed").read_bytes() == expected


def test_what_more_ranks_have_not_sent_goes_on_with_fewer(tmp_path):
    words = ("--compression", "topk:0.01", *SNAPSHOT, HERE / "unsent_job.py")
    assert life(tmp_path, 3, *words, kill="14").returncode == KILLED
    done = life(tmp_path, 2, *words, kill="0")
    assert done.returncode == 0, done.stderr
    assert "goes on in fit 1" in done.stderr
    arrays = tensor_file.read(tmp_path / "s" / "fit-0001.safetensors").arrays
    (weights,) = (one for one in arrays.values() if one.shape == (64, 32))
    unsent = [one for name, one in arrays.items() if name.startswith("kept.1.rank.")]
    assert len(unsent) == 2 and np.any(weights == 0)
    # What was sent and what was not are all gradients that were made.
    made = 20 * np.tile(np.arange(1, 33), (64, 1))
    np.testing.assert_allclose(sum(unsent).reshape(64, 32) - weights, made, rtol=1e-5)
