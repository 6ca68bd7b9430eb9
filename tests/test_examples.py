"""The examples run, say what they promise, and their twins differ by a few lines."""

import difflib
import re
import sys
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TWINS = ("digits", "fashion_mnist")
MOST_LINES = 10
HFDT_RUN = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2")
LAST_LINE = re.compile(
    r"test accuracy (0\.\d{4}|1\.0000), \d+ epochs in \d+\.\d s, \d+ images/s"
)
# Stands in for Fashion-MNIST: each image shows its label, so two epochs learn it.
WITH_DATA = """
import runpy, sys
import keras, numpy as np

def load_data():
    labels = np.arange(510) % 10
    images = np.zeros((510, 28, 28), "uint8")
    images[np.arange(510), labels * 2] = 255
    return (images, labels), (images[:90], labels[:90])

keras.datasets.fashion_mnist.load_data = load_data
sys.argv[:] = [{path!r}, "--epochs", "2", "--batch-size", "30"]
runpy.run_path({path!r}, run_name="__main__")
"""
WITHOUT_DATA = """
import runpy, sys
import keras

def load_data():
    raise Exception("URL fetch failure on https://example.org: None")

keras.datasets.fashion_mnist.load_data = load_data
sys.argv[:] = [{path!r}]
runpy.run_path({path!r}, run_name="__main__")
"""


def difference(name, framework):
    """Returns the changed lines between two forms of an example."""
    names = [f"{name}_{kind}.py" for kind in ("single", framework)]
    texts = [(EXAMPLES / file).read_text().splitlines() for file in names]
    lines = difflib.unified_diff(*texts, *names, n=0)
    return [line for line in lines if not line.startswith("@@")]


@pytest.mark.parametrize("framework", ["hfdt", "nfdt"])
@pytest.mark.parametrize("name", TWINS)
def test_twins_differ_by_a_handful_of_lines(name, framework):
    lines = difference(name, framework)
    print("\n".join(lines))
    added = [line for line in lines[2:] if line.startswith("+")]
    removed = [line for line in lines[2:] if line.startswith("-")]
    assert 0 < len(added) <= MOST_LINES
    assert len(removed) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_docstring_tells_purpose_command_and_last_line(path):
    (text,) = re.findall(r'\A"""(.*?)"""', path.read_text(), re.DOTALL)
    commands = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    (last,) = re.findall(r"^Last line: (.*)$", text, re.MULTILINE)
    assert text.splitlines()[0].endswith(".")
    assert commands and all(c.endswith(f"examples/{path.name}") for c in commands)
    assert path.stem == "demo" or LAST_LINE.fullmatch(last)


@pytest.mark.parametrize("name", TWINS)
def test_unchanged_script_knows_nothing_of_the_framework(name):
    source = (EXAMPLES / f"{name}_single.py").read_text().split('"""', 2)[2]
    assert not re.search(r"hfdt|nfdt|horovod|rank", source)


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_demo_ends_with_a_table_of_all_runs_and_a_picture(demo):
    folder, done = demo
    assert done.returncode == 0, done.stderr
    *_, heading, one, two, three, _, _, apart, picture = done.stdout.splitlines()
    words = ["accuracy", "loss", "time", "images/s", "staleness"]
    assert heading.split() == words
    starts = ("1 process ", "HFDT, 2 ranks ", "NFDT, 2 workers ")
    for line, start in zip((one, two, three), starts, strict=True):
        assert line.startswith(start)
    cells = [line[15:].split() for line in (one, two, three)]
    assert cells[0][0] == cells[1][0]
    assert float(cells[0][0]) > 0.5 and float(cells[2][0]) > 0.2
    assert [cell[-1] for cell in cells[:2]] == ["-", "-"] and float(cells[2][-1]) > 0
    assert float(re.findall(r"by (\S+) at most", apart)[0]) < 1e-3
    assert picture == "the picture is demo.png"
    for framework in ("hfdt", "nfdt"):  # what its lines name is there
        assert (folder / f"{framework}-logs" / "demo" / "rank-1.log").exists()
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_demo_fails_where_its_script_fails(tmp_path):
    done = run(
        sys.executable,
        EXAMPLES / "demo.py",
        "--epochs",
        "-1",
        folder=tmp_path,
        lean=False,
    )
    assert done.returncode != 0
    assert not (tmp_path / "demo.png").exists()


@pytest.mark.horovod
@pytest.mark.slow
def test_explicit_digits_under_horovodrun_speaks_once(tmp_path):
    horovodrun = Path(sys.executable).parent / "horovodrun"
    history = tmp_path / "history.csv"
    done = run(
        *(horovodrun, "--gloo", "-np", "2", sys.executable),
        *(EXAMPLES / "digits_hfdt.py", "--epochs", "2", "--history", history),
        folder=tmp_path,
        lean=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(LAST_LINE.findall(done.stdout)) == 1
    assert len(history.read_text().splitlines()) == 3


@pytest.mark.mpi
@pytest.mark.slow
def test_explicit_digits_train_through_a_server_under_mpirun(tmp_path):
    history = tmp_path / "history.csv"
    done = run(
        *("mpirun", "--with-ft", "ulfm", "--oversubscribe", "-np", "3"),
        *(sys.executable, EXAMPLES / "digits_nfdt.py"),
        *("--epochs", "2", "--history", history),
        folder=tmp_path,
        lean=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(LAST_LINE.findall(done.stdout)) == 1
    assert len(history.read_text().splitlines()) == 3


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_fashion_mnist_reaches_the_same_accuracy_in_both_forms(tmp_path):
    accuracies = []
    for kind, program in (("single", (sys.executable,)), ("hfdt", HFDT_RUN)):
        script = tmp_path / f"train_{kind}.py"
        path = str(EXAMPLES / f"fashion_mnist_{kind}.py")
        script.write_text(WITH_DATA.format(path=path))
        done = run(*program, script, folder=tmp_path, lean=False)
        assert done.returncode == 0, done.stderr
        last = done.stdout.splitlines()[-1]
        assert LAST_LINE.fullmatch(last)
        accuracies.append(last.split(",")[0])
    assert accuracies[0] == accuracies[1]


def test_fashion_mnist_without_data_ends_with_one_clear_line(tmp_path):
    script = tmp_path / "train.py"
    path = str(EXAMPLES / "fashion_mnist_single.py")
    script.write_text(WITHOUT_DATA.format(path=path))
    done = run(sys.executable, script, folder=tmp_path, lean=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Fashion-MNIST must be on this machine")
    assert "URL fetch failure" in last
