"""What a script writes is written once, and what it loads is the same everywhere."""

import importlib.util
import json
import signal
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import processes

PROGRAMS = Path(__file__).parent / "files"
ROOT = Path(__file__).parents[2]
TWO_RANKS = ("-m", "hfdt.cli", "run", "-np", "2", "--output", "logs")
# TensorFlow brings it up to 2.20 only.
BOARD = ["board"] if importlib.util.find_spec("tensorboard") else []
PARTS = ("train", "validation")

pytestmark = [pytest.mark.mpi, pytest.mark.horovod, pytest.mark.slow]


def run(folder, *words, **environ):
    return processes.run(sys.executable, *words, folder=folder, **environ)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder in which two ranks ran the program, and what each of them said."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "run" / "old").mkdir(parents=True)
    done = run(folder, *TWO_RANKS, PROGRAMS / "writes.py", lean=False)
    assert done.returncode == 0, done.stderr
    [log] = folder.glob("logs/**/rank-1.log")
    return folder, done.stdout, log.read_text()


@pytest.fixture(scope="module")
def found(written):
    """What each rank found when it read back what it wrote."""
    return [json.loads(text.splitlines()[-1]) for text in written[1:]]


def test_ranks_read_what_they_wrote(found):
    assert found[0] == found[1]
    assert found[0]["json"] == {"rate": 0.1}
    assert found[0]["exists"]


def test_files_of_the_program_are_whole_and_rank_0s(written, found):
    run_folder = written[0] / "run"
    assert zipfile.ZipFile(run_folder / "data.npz").testzip() is None
    assert float(np.load(run_folder / "data.npz")["x"].sum()) == found[0]["npz"]
    assert len((run_folder / "table.csv").read_text().splitlines()) == 24
    assert (run_folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (written[0] / "lines.txt").read_text() == "a line\n"
    assert not (run_folder / "old").exists()


def test_nothing_is_there_that_one_process_would_not_leave(written):
    left = {p.name for p in (written[0] / "run").iterdir()}
    weights = {f"at-{epoch}.weights.h5" for epoch in (1, 2, 3)}
    models = {"best.keras", "model.keras", "other.keras", "exported", "module"}
    own = {"data.npz", "table.csv", "settings.json", "curve.png"}
    others = {"log.csv", "summaries", "checkpoints", *BOARD}
    assert left == weights | models | own | others
    assert {p.name for p in written[0].iterdir()} == {"run", "logs", "lines.txt"}


def test_callbacks_write_once(written, found):
    lines = (written[0] / "run" / "log.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch", "0", "1", "2"]
    losses = [float(line.split(",")[1]) for line in lines[1:]]
    assert losses == pytest.approx(found[0]["history"]["loss"])
    for board in ("summaries", *(f"{b}/{part}" for b in BOARD for part in PARTS)):
        assert len(list((written[0] / "run" / board).glob("events*"))) == 1


def test_saved_models_are_the_model(written, found):
    for name in ("model", "other"):
        model = keras.models.load_model(written[0] / "run" / f"{name}.keras")
        total = sum(np.abs(w).sum() for w in model.get_weights())
        assert total == pytest.approx(found[0]["total"], rel=1e-6)
    assert found[1]["loaded"] == pytest.approx([found[0]["total"]] * 2, rel=1e-6)


def test_a_missing_model_is_keras_own_error_on_every_rank(found):
    assert all("File not found: filepath=missing.keras" in f["missing"] for f in found)


def test_checkpoints_of_tensorflow(written, found):
    assert [f["latest"] for f in found] == [["ckpt-3", "ckpt-3", 2]] * 2
    assert [f["step"] for f in found] == [3, 3]
    assert found[1]["deferred"] == found[0]["deferred"] > 0
    left = sorted(p.name for p in (written[0] / "run" / "checkpoints").glob("*.index"))
    assert left == ["ckpt-2.index", "ckpt-3.index"]


def test_one_voice(written):
    _, terminal, log = written
    for text in ("this line is printed once", "Total params", "Epoch 3/3"):
        assert terminal.count(text) == 1
    assert "this line is printed once" in log
    assert "Epoch" not in log


def test_a_backup_resumes_on_every_rank(tmp_path):
    whole = run(tmp_path, PROGRAMS / "resumes.py", "whole")
    epochs, losses, _ = json.loads(whole.stdout)
    assert epochs == [0, 1, 2, 3]
    killed = run(tmp_path, *TWO_RANKS, PROGRAMS / "resumes.py", "killed")
    assert killed.returncode == 128 + signal.SIGKILL
    assert (tmp_path / "backup" / "latest.weights.h5").exists()
    resumed = run(tmp_path, *TWO_RANKS, PROGRAMS / "resumes.py", "resumed")
    assert resumed.returncode == 0, resumed.stderr
    [log] = tmp_path.glob("logs/**/rank-1.log")
    for text in (resumed.stdout, log.read_text()):
        found = json.loads(text.splitlines()[-1])
        assert found == [[2, 3], pytest.approx(losses[2:], rel=1e-5), False]
    assert not (tmp_path / "backup").exists()


def test_a_program_that_asks_for_its_rank_divides_its_files(tmp_path):
    done = run(tmp_path, *TWO_RANKS, PROGRAMS / "knows_ranks.py")
    assert done.returncode == 0, done.stderr
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"rank-0.txt", "rank-1.txt", "model.keras", "logs"}


@pytest.fixture(scope="module", params=["hfdt 0.1", "nfdt 0"])
def native(request, tmp_path_factory):
    """A framework, and what one process finds in files that C++ writes and reads.

    NFDT's losses are those of one process as long as nothing is learned.
    """
    name, rate = request.param.split()
    folder = made_earlier(tmp_path_factory.mktemp("native"))
    done = run(folder, PROGRAMS / "native.py", rate)
    assert done.returncode == 0, done.stderr
    return f"{name}.cli", rate, json.loads(done.stdout.splitlines()[-1]), names(folder)


def made_earlier(folder):
    """A folder with a cache that an earlier program has kept."""
    code = "import tensorflow as tf; sum(1 for _ in %s.cache('earlier'))"
    rows = "tf.data.Dataset.from_tensors((tf.ones([3]), tf.ones([1]))).repeat(24)"
    assert run(folder, "-c", code % rows).returncode == 0
    return folder


def names(folder):
    return {p.name for p in folder.iterdir()} - {"logs"}


@pytest.mark.parametrize("slow", ["0", "1"])
def test_files_in_cplusplus_are_those_of_one_process(native, slow, tmp_path):
    program, rate, wanted, left = native
    words = ("-m", program, *TWO_RANKS[2:], PROGRAMS / "native.py", rate)
    done = run(made_earlier(tmp_path), *words, SLOW=slow)
    assert done.returncode == 0, done.stderr
    [log] = tmp_path.glob("logs/**/rank-1.log")
    for text in (done.stdout, log.read_text()):
        lines = [line for line in text.splitlines() if line.startswith("{")]
        assert json.loads(lines[-1]) == wanted
    assert names(tmp_path) == left


def test_a_cache_that_a_job_did_not_finish_stops_nobody(tmp_path):
    killed = run(tmp_path, *TWO_RANKS, PROGRAMS / "crashes.py", "killed")
    assert killed.returncode == 128 + signal.SIGKILL
    done = run(tmp_path, PROGRAMS / "crashes.py", "whole")
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
