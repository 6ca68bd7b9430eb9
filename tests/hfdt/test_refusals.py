"""What is refused, and how: one line that names the way out."""

from __future__ import annotations

import functools

import pytest

from fdtcore.process import Process
from hfdt.refusals import check_horovod
from tests.hfdt.real_jobs import (
    MPIRUN,
    MPIRUN_PYTHON,
    PROGRAMS,
    RUN,
    Job,
    expect_failure,
    run_program,
)

pytestmark = [pytest.mark.horovod, pytest.mark.mpi]


@pytest.fixture
def run(tmp_path):
    """Runs ``hfdt run -np 2`` on a program of the folder ``failing``."""
    return functools.partial(run_program, tmp_path)


def test_script_that_is_distributed_already_is_refused(run):
    job = run("strangers", "mirrored")
    expect_failure(
        job,
        "RuntimeError: only one system may distribute a program. Received: a "
        "MirroredStrategy of tf.distribute. Remove the strategy",
    )
    assert "trained" not in job.text


# Each: how the program is started, and what it gets to read.
STRANGERS = {
    "script": (
        MPIRUN,
        "mirrored: only one system may distribute a program. Received: a Mirrored",
        "multi_worker: only one system may distribute a program. Received: a "
        "Collective",
        "horovod: a script that HFDT runs must not start Horovod. Received: a call",
    ),
    "explicit": (
        MPIRUN_PYTHON,
        "explicit_mirrored: only one system may distribute a program. Received: a "
        "Mirror",
        "explicit_horovod: HFDT averages gradients by itself. Received: Horovod's own",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_strategies_and_horovod_are_refused(tmp_path, name):
    command, *messages = STRANGERS[name]
    job = Job(tmp_path, *command, PROGRAMS / "strangers.py", name)
    assert job.left() == []
    assert "trained" not in job.text
    for message in messages:
        assert message in job.text
    assert job.text.count("run it unchanged with horovodrun.") > 0


def test_one_process_steps_aside(run):
    job = run("strangers", "mirrored", np=1)
    assert (job.code, job.text.strip().splitlines()[-1]) == (0, "trained")


# Each: the words behind ``hfdt run``, and what is said of them.
REFUSED = {
    "no process": (["-np", "0", "fine.py"], "Received: -np 0"),
    "no script": (["-np", "2", "nothing.py"], "Received: nothing.py"),
    "no Python": (["-np", "2", "broken.py"], "broken.py:2"),
    "no module": (["-np", "2", "-m", "nothing.train"], "-m nothing.train"),
    "no host": (["-H", "nosuchhost.invalid:2", "fine.py"], "nosuchhost.invalid"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_start_is_refused_in_one_line(tmp_path, what):
    words, received = REFUSED[what]
    (tmp_path / "fine.py").write_text("print('ran')\n")
    (tmp_path / "broken.py").write_text("x = 1\nx ==\n")
    job = Job(tmp_path, *RUN, *words)
    assert job.code != 0
    assert received in job.text
    assert "Traceback" not in job.text
    assert "ran" not in job.text.split()
    assert job.left() == []


@pytest.fixture
def other_horovod(tmp_path):
    """A folder whose Horovod hides the installed one."""
    package = tmp_path / "other" / "horovod"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return package


def test_horovod_for_another_tensorflow_names_the_cure(tmp_path, other_horovod):
    (other_horovod / "metadata.json").write_text('{"tensorflow": "2.9.1"}')
    (tmp_path / "fine.py").write_text("print('ran')\n")
    for command in ((*RUN, "-np", "2"), MPIRUN):
        job = Job(tmp_path, *command, "fine.py", first=[str(other_horovod.parent)])
        assert job.code == 1
        assert "Horovod for TensorFlow 2.9.1" in job.text
        assert "hfdt install-horovod" in job.text
        assert "ran" not in job.text.split()


def test_missing_horovod_names_the_cure(tmp_path):
    (tmp_path / "fine.py").write_text("print('ran')\n")
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "inner = PathFinder.find_spec\n"
        "def find_spec(name, *args):\n"
        "    return None if name == 'horovod' else inner(name, *args)\n"
        "PathFinder.find_spec = find_spec\n"
    )
    job = Job(tmp_path, *RUN, "-np", "2", "fine.py", first=[str(tmp_path)])
    assert job.code == 1
    assert "Received: no package horovod." in job.text
    assert "hfdt install-horovod" in job.last_line()


def part(module):
    """Returns an object whose class stands in a module."""
    made = type("BroadcastGlobalVariablesCallback", (), {})
    made.__module__ = module
    return made()


def test_a_callback_of_horovods_is_refused_on_several_ranks():
    callbacks = [object(), part("horovod._keras.callbacks")]
    with pytest.raises(RuntimeError, match=r"Received: Horovod's own Broadcast\w+\."):
        check_horovod(Process(0, 2), callbacks)


def test_on_one_rank_it_does_no_harm():
    check_horovod(Process(0, 1), [part("horovod.tensorflow.keras.callbacks")])


def test_what_only_sounds_like_horovod_is_left_alone():
    check_horovod(Process(0, 2), [part("horovodlike.callbacks"), None])
