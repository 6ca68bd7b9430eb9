"""``nfdt.simulate``: Keras as all workers, against plain Keras and by hand."""

import json
import sys
from pathlib import Path

import pytest

from nfdt.telemetry import report
from tests.processes import run

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the job has printed, and its folder of a trace."""
    folder = tmp_path_factory.mktemp("trace")
    done = run(sys.executable, "-m", "tests.nfdt.simulation.keras_job", folder)
    assert done.returncode == 0, done.stderr
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("found ")]
    return {**json.loads(line.removeprefix("found ")), "folder": folder}


def test_one_worker_is_plain_keras(found):
    assert found["one worker"]["sgd"] < 2e-6
    assert found["one worker"]["adam"] == 0
    assert found["one worker"]["own schedule"] == 0


def test_there_are_as_many_steps_as_batches(found):
    assert found["steps"] == 24


def test_equal_seeds_give_equal_bits(found):
    assert found["repeated"] == {
        "same": True,
        "other": False,
        "pushes": 12,
        "staleness": pytest.approx(1.75),
        "losses": 1,
    }


@pytest.mark.parametrize("algorithm", ["asgd", "dana-slim"])
def test_keras_gives_what_the_driver_gives_with_gradients_by_hand(found, algorithm):
    assert found[algorithm] < 1e-6


def test_workers_that_merge_once_are_the_mean_of_plain_trainings(found):
    """Each has an optimizer of its own: else the two would share Adam's moments."""
    assert found["alone"] == {"difference": pytest.approx(0, abs=1e-6), "updates": 1}


def test_several_servers_give_what_one_gives(found):
    assert found["servers"] == 0


def test_narrow_messages_are_shorter_and_parameters_rounded(found):
    """12 batches: each is a step of 1 s, a gradient there and parameters back."""
    (wide_s, _), (narrow_s, narrow), (full_s, full) = (
        found["narrow"][name] for name in ("wide", "narrow", "full")
    )
    assert (wide_s, full_s, narrow_s) == pytest.approx((12 * 3, 12 * 2.5, 12 * 2))
    assert (narrow, full) == (11, 0)  # after the last one comes what is shared


def test_gradients_that_are_not_finite_end_it(found):
    assert found["not finite"] == {"refused": True, "asking": 0}


def test_what_is_of_real_runs_only_is_refused(found):
    assert found["refused"].startswith("a simulation has no checkpoint. Received:")


def test_edge_nodes_are_the_workers_of_the_trace(found):
    assert found["edges"] == {"workers": 2, "seconds": pytest.approx(4.7)}
    assert report.write(found["folder"]).picture.exists()
