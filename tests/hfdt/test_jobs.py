"""Checks that run inside a job of two ranks, beside NumPy's arithmetic."""

from __future__ import annotations

import pathlib
import sys

import pytest

from tests.processes import run

HERE = pathlib.Path(__file__).parent
# One job trains with one set of options.
JOBS = {
    "batch per_worker": ("batch_per_worker", "batch_per_worker_uneven"),
    "rate": ("rate_scaled_and_warmed_up",),
    "accumulation": ("accumulation_by_option",),
    "skip": ("skipped_in_one_rank_only_is_skipped_by_all",),
    "no option": (
        "first_values_are_those_of_rank_0",
        "moving_statistics_are_averaged",
        "dropout_differs_between_ranks",
        "history_is_the_same_on_all_ranks",
    ),
}


def run_job(folder, script, *args):
    words = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2", HERE / script, *args)
    done = run(*words, folder=folder, HOROVOD_DYNAMIC_PROCESS_SETS="1")
    logs = "".join(p.read_text() for p in folder.glob("hfdt-logs/*/rank-1.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs


def test_gradients_become_one(tmp_path):
    run_job(tmp_path, "reduction_job.py")


@pytest.mark.parametrize("job", JOBS)
def test_options_and_layers(job, tmp_path):
    run_job(tmp_path, "options_job.py", *JOBS[job])


@pytest.mark.parametrize(
    "checks",
    [
        ("deep_gradient", "clipping", "largest_elements", "infinity_leaves_no_trace"),
        pytest.param(
            (
                *(
                    "a_loop_by_hand",
                    "nesterov",
                    "warm_up",
                    "accumulation",
                    "all_ranks_agree",
                ),
                "what_is_cheaper_sent_whole_is",
                *("everything_is_momentum_sgd", "loss_scale_does_not_matter"),
            ),
            marks=pytest.mark.long,
        ),
    ],
    ids=["most", "others"],
)
def test_compressed_gradients(checks, tmp_path):
    run_job(tmp_path, "compression_job.py", *checks)
