"""What holds for a program on several workers, seen by the workers themselves."""

from __future__ import annotations

import collections
import json
import re
import sys

import ml_dtypes
import numpy as np
import pytest

from tests.hfdt.real_jobs import Job
from tests.nfdt import keras_job

pytestmark = [pytest.mark.mpi, pytest.mark.slow]
PROGRAM = keras_job.__file__
RUN = (sys.executable, "-m", "nfdt.cli", "run", "--output", "logs")
SCENARIOS = (
    "arrays",
    "generator",
    "stream",
    "callbacks",
    "rates",
    "watching",
    "on_batch",
    "two_models",
    "slices",
    "slices_eagerly",
    "loop",
    "momentum",
    "unbuilt",
    "few",
)
ONE_BATCH = """
import keras, numpy

model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(numpy.ones((16, 8)), numpy.ones((16, 1)), 16, 2, verbose=0)
"""
IN_REPLICA = ("on_batch", "two_models", "slices", "slices_eagerly")
UPDATES = keras_job.SAMPLES // keras_job.BATCH  # of an epoch


def run(folder, workers, *words, **environ):
    """Runs scenarios; returns scenario -> what each worker found."""
    folder.mkdir(exist_ok=True)
    command = (*RUN, "-np", workers, *words[:-1], PROGRAM, folder, *words[-1])
    job = Job(folder, *command, **environ)
    assert job.code == 0, job.text + job.log()
    texts = [job.text, *(job.log(rank) for rank in range(1, workers))]
    found = [
        {name: json.loads(data) for name, data in re.findall(_FOUND, text, re.M)}
        for text in texts
    ]
    return {name: [one[name] for one in found] for name in found[0]}, job.text


_FOUND = r"^found (\w+) (.*)$"


@pytest.fixture(scope="module", params=[2, 3], ids="np{}".format)
def job(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    return run(folder, request.param, "--algorithm", "asgd", SCENARIOS)


@pytest.fixture(scope="module")
def found(job):
    return job[0]


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """What two workers find in scenarios that take longer."""
    folder = tmp_path_factory.mktemp("more")
    return run(folder, 2, "--algorithm", "asgd", ["steps", "scheduled"])[0]


def visits(workers):
    return collections.Counter(v for worker in workers for v in worker["seen"])


@pytest.mark.parametrize(
    ("scenario", "epochs"),
    [
        ("arrays", 3),
        ("generator", 3),
        ("stream", 3),
        ("momentum", 3),
        ("unbuilt", 3),
        ("loop", 1),
    ],
)
def test_every_sample_is_visited_once_an_epoch(found, scenario, epochs):
    everyone = range(keras_job.SAMPLES)
    assert visits(found[scenario]) == dict.fromkeys(everyone, epochs)


def test_a_worker_without_a_batch_has_the_history_of_all(found):
    first, *others = found["few"]
    assert first["iterations"] == 2 * keras_job.EPOCHS
    for other in others:
        assert other["history"] == first["history"]
        assert other["weights"] == first["weights"]


def test_a_worker_that_never_has_a_batch_ends_well(tmp_path):
    # One batch an epoch: the others exchange nothing but what they pull in the end.
    script = tmp_path / "train.py"
    script.write_text(ONE_BATCH)
    job = Job(tmp_path, *RUN, "-np", 3, script)
    assert job.code == 0, job.text + job.log(1)


def test_workers_go_on_while_the_first_decides_to_stop_early(found):
    counts = visits(found["callbacks"])
    assert counts.keys() == set(range(keras_job.SAMPLES))
    # The fifth epoch may have begun on the others when worker 0 ends the fit.
    assert set(counts.values()) <= {4, 5}


@pytest.mark.parametrize("scenario", ["arrays", "generator", "stream", "unbuilt"])
def test_all_workers_end_alike_after_as_many_updates_as_one_machine(found, scenario):
    _expect_alike(found[scenario])


def test_an_optimizer_with_a_schedule_is_that_of_all_workers(more):
    _expect_alike(more["scheduled"])
    first, second = more["scheduled"]
    assert first["other"] == second["other"]


def _expect_alike(workers):
    first, *others = workers
    assert first["iterations"] == UPDATES * keras_job.EPOCHS
    for other in others:
        for name in ("weights", "history", "iterations"):
            assert other[name] == first[name], name


def test_workers_of_a_loop_end_with_the_same_weights_and_optimizer(found):
    first, *others = found["loop"]
    assert visits(found["loop"]) == dict.fromkeys(range(keras_job.SAMPLES), 1)
    assert first["slots"][0] == UPDATES
    for other in others:
        assert other["weights"] == first["weights"]
        assert other["slots"] == first["slots"]


def test_validation_is_in_every_workers_history(found):
    for worker in found["arrays"]:
        assert len(worker["history"]["val_loss"]) == keras_job.EPOCHS


def test_a_decision_of_worker_0_is_everybodys(found):
    for worker in found["callbacks"]:
        assert len(worker["history"]["loss"]) == 4  # one, and a patience of three
        assert worker["rate"] == pytest.approx(0.05 / 8)
        assert worker["saved"] >= UPDATES  # the state of the servers was saved


def test_a_callback_reads_worker_0s_validation_on_every_worker(job):
    found, text = job
    assert "nfdt: validation: all workers wait for worker 0's, which Watch may" in text
    first = found["watching"][0]
    for worker in found["watching"]:
        assert worker["epochs"] == [0, 1]  # none begins what another has ended
        assert worker["values"] == worker["tested"] == first["values"]
        assert worker["history"]["val_loss"] == first["values"]
        assert len(worker["history"]["score"]) == 2


def test_a_rate_that_worker_0_changes_in_a_fit_is_the_servers(found):
    for worker in found["rates"]:
        first, second, third, last = worker["history"]["loss"]
        assert abs(second - first) > 1e-3
        # Pushes of others may still come at the old rate when the second epoch begins.
        assert last == pytest.approx(third, rel=1e-5)


@pytest.mark.parametrize("scenario", IN_REPLICA)
def test_a_loop_without_a_data_set_is_that_of_one_machine_on_every_worker(
    found, scenario
):
    alone = getattr(keras_job, scenario)()
    for worker in found[scenario]:
        assert worker.keys() == alone.keys()
        for name, value in alone.items():
            for ours, theirs in zip(_arrays(worker[name]), _arrays(value), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=name)


def _arrays(value):
    """Returns lists of weights as arrays, of which each has a shape of its own."""
    return [np.asarray(v) for v in value] if isinstance(value, list) else [value]


def test_no_step_is_without_a_batch_and_no_callback_without_a_step(more):
    everything = list(range(UPDATES)) * 2  # epochs
    for name in more["steps"][0]:
        workers = [worker[name] for worker in more["steps"]]
        assert sum(worker["steps"] for worker in workers) == len(everything), name
        assert {worker["iterations"] for worker in workers} == {len(everything)}, name
        begun = sorted(number for worker in workers for number in worker["begun"])
        assert all(len(w["begun"]) == len(w["ended"]) for w in workers), name
        if "five at a time" not in name:
            assert begun == sorted(everything), name


def test_it_is_said_that_a_loop_trains_in_replica(job):
    assert job[1].count("this loop trains in replica: every worker") == 1


def test_it_is_said_how_batches_are_dealt(job):
    assert "ArrayData: batches are leased" in job[1]
    assert "GeneratorData: batch i goes to worker i modulo" in job[1]


@pytest.mark.horovod
def test_a_barrier_of_two_workers_is_one_batch_of_both_and_a_step_of_hfdt(tmp_path):
    scenarios = ["stream", "undecayed", *IN_REPLICA]
    bsp = ("--algorithm", "asgd", "--consistency", "bsp", scenarios)
    found = run(tmp_path, 2, *bsp)[0]
    for scenario in scenarios[:2]:
        first, _ = found[scenario]
        assert first["iterations"] == UPDATES * keras_job.EPOCHS // 2
        whole = getattr(keras_job, scenario)(batch=2 * keras_job.BATCH)
        for ours, theirs in zip(first["weights"], whole["weights"], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
        losses = (first["history"]["loss"], whole["history"]["loss"])
        np.testing.assert_allclose(*losses, rtol=1e-6)
    for scenario in IN_REPLICA:  # nobody waits for the pushes of those that make none
        first, second = found[scenario]
        assert first == second
    first, _ = found["stream"]
    for ours, theirs in zip(first["weights"], synchronous(tmp_path), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def synchronous(folder):
    """Returns the weights of the same program under ``hfdt run``.

    With a batch for each process its step is a round of BSP: the mean of the gradients
    of batches 2 k and 2 k + 1, which the processes take in turn.
    """
    command = (sys.executable, "-m", "hfdt.cli", "run", "--output", "hfdt-logs")
    words = ("-np", 2, "--batch", "per-worker", PROGRAM, folder, "stream")
    job = Job(folder, *command, *words)
    assert job.code == 0, job.text
    [found] = re.findall(r"^found stream (.*)$", job.text, re.MULTILINE)
    return json.loads(found)["weights"]


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (("--algorithm", "dana-slim"), {}),
        (("--algorithm", "easgd"), {}),
        (("--algorithm", "asgd", "--overlap"), {}),
        (("--algorithm", "asgd"), {"NFDT_LOCAL_STEPS": "4"}),
        (("--algorithm", "asgd", "--servers", "2", "--wire", "bfloat16"), {}),
    ],
)
def test_other_ways_to_exchange_visit_all_and_end_alike(tmp_path, options, environ):
    first, second = run(tmp_path, 2, *options, ["momentum"], **environ)[0]["momentum"]
    counts = visits([first, second])
    assert counts == dict.fromkeys(range(keras_job.SAMPLES), keras_job.EPOCHS)
    assert first["weights"] == second["weights"]
    assert first["history"]["loss"][-1] < first["history"]["loss"][0]


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("returned", ["narrow", "full"])
def test_steps_are_at_narrow_parameters_and_nothing_is_kept_so(
    tmp_path, servers, returned
):
    wire = ("--wire", "bfloat16", *(["--full-parameters"] * (returned == "full")))
    options = ("--algorithm", "dc-asgd-a", "--servers", servers, *wire)
    workers = run(tmp_path, 2, *options, ["rounded", "loop"])[0]
    for found in workers["rounded"]:
        after = found["rounded"]
        assert after["batch"] == [returned == "narrow"]
        assert after["epoch"] == after["fit"] == [False]
    first, second = workers["rounded"]
    assert first["weights"] == second["weights"]
    assert first["history"]["loss"][-1] < first["history"]["loss"][0]
    one, other = (np.concatenate(found["weights"], None) for found in workers["loop"])
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, one.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize(
    "options",
    [("--consistency", "dsp"), ("--algorithm", "easgd", "--local-steps", "2")],
    ids=lambda options: options[1],
)
def test_a_model_is_built_before_the_first_local_step(tmp_path, options):
    workers = run(tmp_path, 2, *options, ["unbuilt"])[0]["unbuilt"]
    everyone = range(keras_job.SAMPLES)
    assert visits(workers) == dict.fromkeys(everyone, keras_job.EPOCHS)
    first, second = workers
    assert first["weights"] == second["weights"]
    assert first["history"]["loss"][-1] < first["history"]["loss"][0]


def test_a_loop_with_local_steps_needs_a_model_that_is_built(tmp_path):
    words = ("-np", 2, "--local-steps", 2, PROGRAM, tmp_path, "loop_unbuilt")
    job = Job(tmp_path, *RUN, *words)
    assert job.code != 0
    assert "Received: a model that is built inside a tf.function" in job.text


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("different", "must be the same on every rank"),
        ("own_class", "a class of the script itself). Define it in a module that can"),
        ("forgetful", "Return factor from its get_config"),
        (
            "changed",
            "Received: beta_1=0.5, which was 0.9. Compile the model with a new",
        ),
    ],
)
def test_mistakes_end_the_job_with_a_word(tmp_path, scenario, text):
    job = Job(tmp_path, *RUN, "-np", 2, PROGRAM, tmp_path, scenario)
    assert job.code != 0
    assert text in job.text
