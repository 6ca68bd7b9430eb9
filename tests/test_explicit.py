"""Scripts that distribute their models themselves, and those that forget to."""

from __future__ import annotations

import json
import re
import sys

import pytest

from tests import explicit_job
from tests.explicit_job import STEPS
from tests.hfdt.real_jobs import Job

pytestmark = [pytest.mark.horovod, pytest.mark.mpi, pytest.mark.slow]
PROGRAM = explicit_job.__file__
# Two processes that train.
SIZE = {"hfdt": 2, "nfdt": 3}
ALIKE = ("multi", "compiled_afterwards", "wrapper", "held_by_the_model", "counts")
TOGETHER = (
    "multi",
    "wrapper",
    "held_by_the_model",
    "counts",
    "float8",
    "stateful",
    "random_numbers",
    "compiled_afterwards",
)


def mpirun(folder, name, *cases, program=(PROGRAM,), **environ):
    words = ("-np", SIZE[name], "--oversubscribe", sys.executable, *program)
    framework = name if program == (PROGRAM,) else "none"
    return Job(folder, "mpirun", *words, framework, *cases, **environ)


def found(job):
    """Returns case -> what each process that trains has printed, once if all agree."""
    lines = re.findall(r"^found (\w+) (.*)$", job.text, re.MULTILINE)
    by_case = {}
    for case, data in lines:
        by_case.setdefault(case, [])
        if json.loads(data) not in by_case[case]:
            by_case[case].append(json.loads(data))
    return by_case


@pytest.fixture(scope="module")
def keras_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    cases = [case for case in TOGETHER if case != "stateful"]
    job = Job(folder, sys.executable, PROGRAM, "none", *cases)
    assert job.code == 0, job.text
    return {case: value for case, [value] in found(job).items()}


@pytest.fixture(scope="module")
def explicit(tmp_path_factory):
    """Framework -> what its processes have found, alike on all, and the job."""
    jobs = {}
    for name in SIZE:
        folder = tmp_path_factory.mktemp(name)
        jobs[name] = mpirun(folder, name, *TOGETHER)
        assert jobs[name].code == 0, jobs[name].text
    return jobs


@pytest.fixture(scope="module", params=SIZE)
def framework(request):
    return request.param


@pytest.mark.parametrize("case", ALIKE)
def test_hfdt_gives_the_numbers_of_keras(case, explicit, keras_alone):
    [value] = found(explicit["hfdt"])[case]
    for key, expected in keras_alone[case].items():
        assert value[key] == pytest.approx(expected, rel=1e-4), key


@pytest.mark.parametrize("case", ALIKE)
def test_nfdt_trains_and_its_workers_end_alike(case, explicit):
    [value] = found(explicit["nfdt"])[case]
    assert value["after"] < 0.5 * value["before"]


def test_wrappers_count_the_updates_of_all(framework, explicit):
    values = found(explicit[framework])
    assert values["multi"][0]["iterations"] == [STEPS] * 3
    assert values["wrapper"][0]["iterations"] == STEPS


def test_layers_count_the_batches_of_all(framework, explicit):
    [value] = found(explicit[framework])["counts"]
    assert value["steps"] == STEPS
    assert value["grows"] == pytest.approx(0.01 * STEPS, rel=1e-5)
    assert value["shrinks"] == pytest.approx(0.99**STEPS, rel=1e-5)


def test_a_schedule_that_is_neither_sum_nor_product_is_named(explicit):
    lines = [line for line in explicit["nfdt"].text.splitlines() if "derived" in line]
    assert lines == [
        "nfdt: sequential_3/counts/derived changes by itself from step to step, and "
        "each worker counts its own batches only: its value counts fewer steps than "
        "one process makes. Compute it from an integer count of steps, which is "
        "summed."
    ]


def test_python_draws_what_it_draws_without_the_framework(
    framework, explicit, keras_alone
):
    assert found(explicit[framework])["random_numbers"] == [
        keras_alone["random_numbers"]
    ]


def test_the_largest_value_of_all_counts(framework, explicit, keras_alone):
    [value] = found(explicit[framework])["float8"]
    assert value == keras_alone["float8"] == {"largest": 7.0, "least": 0.0}


def test_stateful_layers_are_refused(framework, explicit):
    [value] = found(explicit[framework])["stateful"]
    assert value["refused"] == (
        "a stateful layer must see all rows of all batches in their order. Received: "
        "stateful=True in recurrent on 2 processes that train. Run the script with "
        f"python, or on one process: {framework} run -np 1."
    )


def test_a_wrapper_that_writes_weights_is_refused(tmp_path):
    job = mpirun(tmp_path, "nfdt", "lookahead")
    assert job.code == 1
    assert (
        "an optimizer that holds others must leave the variables to them. Received: "
        "Lookahead, which changes them after their step, where several workers do not "
        "see it. Train it with hfdt, or on one worker."
    ) in job.text


def test_each_rate_is_scaled(tmp_path):
    job = mpirun(tmp_path, "hfdt", "rates")
    assert job.code == 0, job.text
    assert found(job) == {"rates": [{"rates": pytest.approx([0.1, 0.02])}]}
    assert job.text.count("hfdt: learning rate of sgd 0.05 * 2 = 0.1 (lr_scale)") == 1
    assert job.text.count("hfdt: learning rate of adam 0.01 * 2 = 0.02") == 1


def test_an_unchanged_script_has_the_same(tmp_path):
    cases = ("multi", "counts", "multi_in_a_loop")
    job = mpirun(tmp_path, "nfdt", *cases, program=("-m", "nfdt", PROGRAM))
    assert job.code == 0, job.text
    # Worker 1 has fewer batches of the loop, and counts the updates of all.
    [log] = tmp_path.glob("nfdt-logs/*/rank-1.log")
    for text in (job.text, log.read_text()):
        assert 'found multi_in_a_loop {"iterations": [5, 5, 5]}' in text
    assert found(job)["multi"][0]["iterations"] == [STEPS] * 3
    assert found(job)["counts"][0]["steps"] == STEPS


@pytest.mark.parametrize(
    ("case", "what"),
    [("forgotten", "steps of SGD"), ("forgotten_by_hand", "the steps of model")],
)
def test_a_job_that_exchanges_nothing_ends_with_an_error(
    tmp_path, framework, case, what
):
    job = mpirun(tmp_path, framework, case)
    assert job.code == 1
    assert (
        "a job of several processes must exchange what it trains. Received: "
        f"{what} in a job of {SIZE[framework]}, and nothing exchanged. Pass what you "
        f"train to {framework}.distribute, or start the script with {framework} run."
    ) in job.text
    assert job.left() == []


def test_a_job_that_trains_nothing_is_fine(tmp_path, framework):
    job = mpirun(tmp_path, framework, "nothing_trained")
    assert job.code == 0, job.text
    assert "must exchange" not in job.text
