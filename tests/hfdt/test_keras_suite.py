"""Keras's own tests pass unchanged on two ranks: here the most telling of them.

`make keras-suite` runs all (docs/keras-suite.md).
"""

from __future__ import annotations

import pytest

from tests.hfdt import keras_suite

_TRAINER = "trainers/trainer_test.py::TestTrainer::test_"
QUICK = [
    "optimizers/sgd_test.py",
    "optimizers/adam_test.py",
    "optimizers/adafactor_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/optimizer_sparse_test.py::OptimizerSparseTest::"
    "test_sparse_gradients_adam",
    "callbacks/terminate_on_nan_test.py",
    "saving/saving_api_test.py::SaveModelTests::test_invalid_save_format",
    "saving/saving_api_test.py::LoadWeightsTests::test_load_sharded_weights",
    f"{_TRAINER}fit_flow_graph_fn",
    f"{_TRAINER}fit_sparse_tf_graph",
    f"{_TRAINER}fit_with_custom_train_step",
    f"{_TRAINER}fit_with_data_adapter_generator",
    f"{_TRAINER}fit_with_data_adapter_py_dataset_cw",
    f"{_TRAINER}loss_weights",
    f"{_TRAINER}nested_inputs",
    f"{_TRAINER}nested_trainer_metrics",
    f"{_TRAINER}on_batch_methods_graph_fn",
]
LOG = """\
../site-packages/keras/src/optimizers/sgd_test.py::SGDTest::test_a PASSED [ 50%]
../site-packages/keras/src/optimizers/sgd_test.py::SGDTest::test_b FAILED [ 75%]
../site-packages/keras/src/optimizers/sgd_test.py::SGDTest::test_c hfdt: rank 1/2 ended
=========================== short test summary info ============================
FAILED ../site-packages/keras/src/optimizers/sgd_test.py::SGDTest::test_b
"""


def test_outcomes_are_read_from_what_pytest_prints():
    assert keras_suite.outcomes(LOG) == {
        "optimizers/sgd_test.py::SGDTest::test_a": "PASSED",
        "optimizers/sgd_test.py::SGDTest::test_b": "FAILED",
    }


def test_what_one_rank_fails_or_never_runs_is_lost():
    plain = {"a": "PASSED", "b": "PASSED", "c": "PASSED", "d": "FAILED"}
    ranks = [dict.fromkeys("abc", "PASSED"), {"a": "PASSED", "b": "FAILED"}]
    assert keras_suite.lost(plain, ranks) == ["b", "c"]


def test_an_exception_is_not_lost():
    name = next(iter(keras_suite.EXCEPTIONS))
    plain = {name: "PASSED", f"{name}_of_another": "PASSED"}
    assert keras_suite.lost(plain, [{}]) == [f"{name}_of_another"]


@pytest.mark.parametrize("name", keras_suite.EXCEPTIONS)
def test_an_exception_is_of_a_test_that_exists(name):
    file, _, test = name.partition("::")
    assert test.rpartition("::")[2] in (keras_suite.SOURCE / file).read_text()


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_two_ranks_pass_what_one_process_passes():
    first, second = keras_suite.run(QUICK, 2, timeout_s=600)
    assert first == second
    assert set(first.values()) <= {"PASSED", "SKIPPED"}
    for name in QUICK:
        passed = [n for n in first if n.startswith(name) and first[n] == "PASSED"]
        assert passed, name
