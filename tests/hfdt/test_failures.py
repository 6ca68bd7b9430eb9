"""What a user sees when a job goes wrong: message, exit code, nothing left running."""

from __future__ import annotations

import functools
import zipfile

import pytest

from tests.hfdt.real_jobs import (
    GLOO,
    MPIRUN,
    PROGRAMS,
    Job,
    expect_failure,
    run_program,
)

pytestmark = [pytest.mark.horovod, pytest.mark.mpi]

STALL_S = 6  # a step must have been traced by then


@pytest.fixture
def run(tmp_path):
    """Runs ``hfdt run -np 2`` on a program of the folder ``failing``."""
    return functools.partial(run_program, tmp_path)


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


def test_exception_while_a_step_is_traced(run):
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


def test_killed_rank_is_named_with_its_signal(run):
    job = run("fits", "killed")
    assert job.code != 0
    assert "rank 1/2" in job.last_line()
    assert "SIGKILL" in job.last_line()
    assert "rank 0/2 stops: rank 1/2" in job.text


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


def test_unbuilt_models_and_integer_gradients_are_refused_on_every_rank(run):
    job = run("loops", "refused")
    for text in (job.text, job.log()):
        assert "unbuilt: ValueError: an eager loop must begin with the same" in text
        assert "Build it first" in text
        assert "integers: TypeError: a gradient must be of a floating type" in text
        assert "Received: int32" in text


def test_compiled_step_of_a_loop_runs_without_xla(run):
    job = run("loops", "compiled")
    assert job.code == 0
    assert job.text.count("runs without XLA") == 1
    line = next(x for x in job.text.splitlines() if x.startswith("trained"))
    assert line in job.log()


def test_exit_code_of_one_rank_is_the_jobs(run):
    job = run("fits", "left")
    assert job.code == 3
    assert "rank 1/2 (" in job.last_line()
    assert "failed: SystemExit: 3 (fits.py:" in job.last_line()
    assert "rank 0/2 stops: rank 1/2" in job.text


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
