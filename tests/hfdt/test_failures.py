"""What a user sees when a job goes wrong: message, exit code, nothing left running."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid
import zipfile

import pytest

PROGRAMS = pathlib.Path(__file__).parent / "failing"
ROOT = PROGRAMS.parents[2]
TIME_LIMIT_S = 120
PROMPT_S = 10
STALL_S = 6  # a step must have been traced by then
RUN = (sys.executable, "-m", "hfdt.cli", "run")
MPIRUN = ("mpirun", "-np", "2", "--oversubscribe", sys.executable, "-m", "hfdt")
GLOO = ("horovodrun", "--gloo", "-np", "2", sys.executable, "-m", "hfdt")


class Job:
    """One command, run to its end.

    Args:
        folder: Where it runs.
        command: The command and its arguments.
        interrupt_at: Text of standard output at which Ctrl-C is pressed; None never.
        environ: Variables to set.
    """

    def __init__(self, folder, *command, interrupt_at=None, **environ):
        self.folder, self._mark = folder, uuid.uuid4().hex
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=_environ(JOB_MARK=self._mark, **environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        try:
            before = ""
            while interrupt_at is not None and interrupt_at not in before:
                line = process.stdout.readline()
                assert line, f"the job ended early: {before}"
                before += line
            if interrupt_at is not None:
                os.killpg(process.pid, signal.SIGINT)
            self.text = before + process.communicate(timeout=TIME_LIMIT_S)[0]
        finally:
            process.kill()
        self.code, self.end_s = process.returncode, time.time()

    @property
    def delay_s(self):
        """Seconds from the failure, as the program noted it, to the job's end."""
        return self.end_s - float((self.folder / "failed").read_text())

    def log(self, rank=1):
        """What a rank other than 0 wrote."""
        [path] = self.folder.glob(f"**/rank-{rank}.log")
        return path.read_text()

    def last_line(self):
        """The launcher's last word."""
        return self.text.strip().splitlines()[-1]

    def left(self):
        """Processes of the job that still run."""
        deadline_s = time.monotonic() + 3
        while (found := self._running()) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        return found

    def _running(self):
        mark, found = f"JOB_MARK={self._mark}".encode(), []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes():
                    found.append((path.parent / "cmdline").read_bytes())
            except OSError:
                continue  # it has just ended, or is not ours
        return [words for words in found if words]  # a zombie has none


def _environ(**more):
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("HFDT_")},
        "PYTHONPATH": os.pathsep.join(
            [*more.pop("first", []), str(ROOT), os.environ.get("PYTHONPATH", "")]
        ),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **{
            f"OMPI_ALLOW_RUN_AS_ROOT{suffix}": "1"
            for suffix in ("", "_CONFIRM")
            if os.getuid() == 0
        },
        **more,
    }


@pytest.fixture
def run(tmp_path):
    """Runs ``hfdt run -np 2`` on a program of the folder ``failing``."""

    def start(program, name, *options, np=2, **choices):
        script = PROGRAMS / f"{program}.py"
        words = ("-np", np, "--output", "logs", *options, script, name)
        job = Job(tmp_path, *RUN, *words, **choices)
        assert job.left() == []
        return job

    return start


def expect_failure(job, *words, code=1):
    """The launcher's last line and the log of rank 1 hold all words."""
    assert job.code == code, job.text
    for word in words:
        assert word in job.last_line()
        assert word in job.log()
        assert word in job.text.replace(job.last_line(), "")  # rank 0 says so, too


# Each: name of the program and of its case, and what every rank has to say.
EXCEPTIONS = {
    "in a callback of fit": ("fits", "callback"),
    "before fit": ("fits", "plain"),
    "after fit": ("fits", "after"),
}


@pytest.mark.parametrize("place", EXCEPTIONS)
def test_exception_on_one_rank_is_named_everywhere(run, place):
    job = run(*EXCEPTIONS[place])
    assert job.code == 1
    line = "rank 1/2 (.*) failed: LookupError: no such label: 7 (fits.py:"
    source = 'raise LookupError("no such label: 7"))'
    for text in (job.last_line(), job.text.replace(job.last_line(), "")):
        assert line.split("(.*)")[0] in text
        assert line.split("(.*)")[1] in text
        assert source in text
    assert "rank 0/2 stops: rank 1/2" in job.text
    assert "Traceback" in job.log()
    assert job.log().rstrip().endswith("LookupError: no such label: 7")
    assert job.delay_s < PROMPT_S


def test_exception_while_a_step_is_traced_and_in_data(run):
    job = run("fits", "train_step")
    expect_failure(job, "rank 1/2", "LookupError: no such layer: 7")
    assert 'raise LookupError("no such layer: 7")' in job.last_line()


def test_exception_in_a_generator_of_data(run):
    job = run("fits", "data")
    expect_failure(job, "rank 1/2", "OSError: part-3.csv is cut short")


@pytest.mark.parametrize("command", [MPIRUN, GLOO], ids=["mpirun", "horovodrun"])
def test_other_launchers_end_as_soon_and_name_the_rank(tmp_path, command):
    job = Job(tmp_path, *command, PROGRAMS / "fits.py", "callback")
    assert job.left() == []
    assert job.code != 0
    assert "rank 0/2 stops: rank 1/2" in job.text
    assert "LookupError: no such label: 7 (fits.py:" in job.text
    assert job.delay_s < PROMPT_S


def test_killed_rank_is_named_with_its_signal(run):
    job = run("fits", "killed")
    assert job.code != 0
    assert "rank 1/2" in job.last_line()
    assert "SIGKILL" in job.last_line()
    assert "rank 0/2 stops: rank 1/2" in job.text
    assert job.delay_s < PROMPT_S


def test_different_models_name_both_ranks_and_the_variable(run):
    expect_failure(
        run("fits", "models"),
        "variable 0 is 'sequential/dense/kernel (4, 3) float32' on rank 0",
        "'sequential/dense/kernel (4, 4) float32' on rank 1",
    )


# Each: where rank 1 is while rank 0 waits in a step.
UNEQUAL = {
    "fewer epochs": ("fits", "epochs", "train step 17", "rank 1/2 waits in"),
    "fewer batches": ("fits", "batches", "train step 7", "rank 1/2 waits in"),
    "no fit": ("fits", "leaves", "rank 0/2 waits in", "rank 1/2 finished its script"),
    "a shorter loop": (
        "loops",
        "shorter",
        "run 6 of tf.function step",
        "rank 1/2 finished its script",
    ),
}


@pytest.mark.parametrize("what", UNEQUAL)
def test_unequal_numbers_of_steps_name_both_ranks_and_the_step(run, what):
    program, name, *words = UNEQUAL[what]
    job = run(program, name)
    expect_failure(job, "rank 0/2 waits in call", "which rank 1/2 never joined", *words)
    assert "Make the same calls on every rank" in job.last_line()


# Each: what the rank that waits is in, and the rank that sleeps.
STALLS = {
    "fit": ("fits", "sleeps", "train step 12 of sequential", 1),
    "a traced loop": ("loops", "sleeps", "run 3 of tf.function step", 1),
    "an eager loop": ("loops", "sleeps_eagerly", "step 3 of SGD", 1),
    "hfdt.allreduce": ("fits", "alone", "allreduce user", 1),
    "hfdt.barrier": ("fits", "barrier", "barrier", 0),
}


@pytest.mark.parametrize("where", STALLS)
def test_stall_is_reported_with_the_stacks_of_all(run, where):
    program, name, call, sleeper = STALLS[where]
    job = run(program, name, "--stall-timeout", STALL_S)
    never = f"which rank {sleeper}/2 never joined: rank {sleeper}/2 has been computing"
    expect_failure(job, f"rank {1 - sleeper}/2 waits in call", f"({call})", never)
    assert "stall timeout" in job.last_line()
    for rank in (0, 1):
        assert f"\nrank {rank}/2 (" in job.text
    assert "time.sleep(1e4)" in job.text  # the line on which the sleeper is
    assert job.delay_s < PROMPT_S + STALL_S


def test_nan_names_rank_and_variable(run):
    received = "NaN or infinity on rank 1 in the gradient of sequential/dense/kernel"
    for program, name in (("fits", "nan"), ("loops", "nan"), ("loops", "nan_eagerly")):
        job = run(program, name)
        expect_failure(job, "NonFiniteGradient: gradients must be finite.", received)
        assert "UnknownError" not in job.text + job.log()


def test_nan_may_be_skipped_or_passed(run):
    skipped = run("fits", "borne", "--nonfinite", "skip")
    assert skipped.code == 0
    # 3 epochs of 8 batches, one of them bad.
    assert "steps 21\nfinite True\nsame True" in skipped.text
    passed = run("fits", "borne", "--nonfinite", "pass")
    assert passed.code == 0
    assert "steps 24\nfinite False\nsame True" in passed.text


def test_wrong_shape_is_kerass_own_error_once(run):
    job = run("fits", "shape")
    assert job.code == 1
    expected = "expected axis -1 of input shape to have value 4"
    assert expected in job.text
    assert job.text.count("Traceback (most recent call last)") == 1
    assert "rank 0/2" in job.text


def test_eager_loop_of_an_unbuilt_model(run):
    job = run("loops", "unbuilt")
    expect_failure(job, "the same weights on every rank", "Build it first")


def test_gradient_that_cannot_be_averaged(run):
    job = run("loops", "integers")
    expect_failure(job, "TypeError: a gradient must be of a floating type", "int32")


def test_compiled_step_of_a_loop_runs_without_xla(run):
    job = run("loops", "compiled")
    assert job.code == 0
    assert job.text.count("runs without XLA") == 1
    line = next(x for x in job.text.splitlines() if x.startswith("trained"))
    assert line in job.log()


# Each: what is received, and the way out.
STRANGERS = {
    "mirrored": ("MirroredStrategy of tf.distribute", "Take the strategy"),
    "multi_worker": ("CollectiveAllReduceStrategy", "Take the strategy"),
    "explicit_mirrored": ("MirroredStrategy of tf.distribute", "Take the strategy"),
    "horovod": ("hvd.init()", "run it as it is with horovodrun"),
    "explicit_horovod": ("Horovod's own SGD", "run it as it is with horovodrun"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_programs_that_are_distributed_already_are_refused(run, name):
    job = run("strangers", name)
    expect_failure(job, "RuntimeError", *STRANGERS[name])
    assert "trained" not in job.text


def test_one_process_steps_aside(run):
    job = run("strangers", "mirrored", np=1)
    assert (job.code, job.text.strip().splitlines()[-1]) == (0, "trained")


def test_exit_code_of_one_rank_is_the_jobs(run):
    job = run("fits", "left")
    assert job.code == 3
    assert "rank 1/2" in job.last_line()
    assert "exit code 3" in job.last_line()
    assert job.delay_s < PROMPT_S


def test_ctrl_c_ends_every_rank(run):
    job = run("fits", "interrupted", interrupt_at="training\n")
    assert job.code == 130
    assert "stopped by SIGINT; every rank has ended." in job.last_line()
    assert "Traceback" not in job.text + job.log()


def test_checkpoint_stays_whole_when_a_rank_dies(run):
    job = run("fits", "saved")
    assert job.code != 0
    assert (job.folder / "writing").exists()  # it was being replaced
    with zipfile.ZipFile(job.folder / "model.keras") as archive:
        assert archive.testzip() is None
        assert "model.weights.h5" in archive.namelist()


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
    start_s = time.time()
    job = Job(tmp_path, *RUN, *words)
    assert job.code != 0
    assert received in job.text
    assert "Traceback" not in job.text
    assert "ran" not in job.text.split()
    assert job.left() == []
    assert job.end_s - start_s < PROMPT_S


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
