"""What a user sees when a process dies, fails or computes NaN; nothing hangs."""

from __future__ import annotations

import re
import zipfile

import pytest

from fdtcore import failures
from tests.nfdt import real_runs
from tests.nfdt.real_runs import (
    BATCHES,
    EPOCHS,
    every_batch_once,
    mpirun,
    run,
    said,
)

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

WORKER_1 = r"worker 1 \(rank 1\) was lost; 1 worker goes on and takes over its batches"
SUMMARY = ("updates", "staleness", "waiting")


def expect_whole(job, folder):
    """The job has ended well, and trained on every batch of every epoch once."""
    assert job.code == 0, job.text
    assert real_runs.visits(folder) == every_batch_once()
    [losses] = re.findall(r"^losses \[(.*)\]", job.text, re.MULTILINE)
    assert len(losses.split(",")) == EPOCHS
    assert zipfile.ZipFile(folder / "model.keras").testzip() is None
    for word in SUMMARY:
        assert len(said(job, f"nfdt: {word} ")) == 1, job.text


@pytest.mark.parametrize("case", ["kill1@4", "kill1@0", "killlast1"])
def test_a_killed_worker_is_named_and_its_batches_are_trained_on(tmp_path, case):
    job = run(tmp_path, case)
    expect_whole(job, tmp_path)
    assert len(said(job, "was lost")) == len(said(job, WORKER_1)) == 1
    assert ("lost", 1) in real_runs.happenings(tmp_path)


def test_two_of_three_workers_at_once(tmp_path):
    job = run(tmp_path, "kill1@3,kill2@3", np=3)
    expect_whole(job, tmp_path)
    assert len(said(job, r"worker [12] \(rank [12]\) was lost")) == 2


def test_another_worker_takes_the_place_of_worker_0(tmp_path):
    job = run(tmp_path, "kill0@3")
    expect_whole(job, tmp_path)  # also: it prints, and saves the model
    assert said(job, "worker 1 prints, validates and saves from now on")
    assert "val_loss" in job.text
    assert (tmp_path / "best.keras").exists()


def test_another_worker_pushes_where_all_make_the_same_steps(tmp_path):
    jobs = {}
    for case, workers in (("byhand", 1), ("kill0@3,byhand", 3)):
        (folder := tmp_path / str(workers)).mkdir()
        jobs[workers] = run(folder, case, np=workers, NFDT_ALGORITHM="asgd")
        assert jobs[workers].code == 0, jobs[workers].text
    [ended] = re.findall(r"^ended .*$", jobs[1].text, re.MULTILINE)
    assert ended in jobs[3].text  # worker 1 prints from then on
    assert ended in jobs[3].log(2)


def test_abort_ends_the_job(tmp_path):
    job = run(tmp_path, "kill1@4", "--on-worker-loss", "abort")
    assert job.code == 1
    assert job.last_line().startswith("nfdt: worker 1 (rank 1) was lost.")


def test_without_its_server_a_job_ends_at_once_and_says_so(tmp_path):
    job = run(tmp_path, "killserver0@4", "--checkpoint", "ck")
    assert job.code == 1
    line = "nfdt: server 0 (rank 2) is gone. Nothing can be trained without it"
    assert job.last_line().startswith(line)
    assert line in job.log(1)


def test_one_of_two_servers_is_lost(tmp_path):
    job = run(tmp_path, "killserver0@4", "--servers", 2, "--algorithm", "asgd")
    assert job.code == 1
    assert "server 1 (rank 3)" in job.last_line()


def test_a_job_that_fails_under_mpirun_says_so_by_its_code(tmp_path):
    ft = ("--with-ft", "ulfm")
    job = mpirun(tmp_path, "nan", *ft, NFDT_REFUSE_AT_MOST="1")
    assert job.code != 0
    assert said(job, "1 gradients in a row were NaN or infinite")


@pytest.mark.parametrize("way", ["nfdt run", "mpirun"])
def test_a_server_that_fails_ends_the_job(tmp_path, way):
    words = ("--with-ft", "ulfm") if way == "mpirun" else ()
    start = mpirun if way == "mpirun" else run
    job = start(tmp_path, "broken", *words, NFDT_ALGORITHM="asgd")
    assert job.code != 0
    assert said(job, "server 0 failed: RuntimeError: no such slot: 7"), job.text
    assert "Traceback" not in job.text  # the server's own frames help no user


def test_all_workers_lost(tmp_path):
    job = run(tmp_path, "kill0@3,kill1@5")
    assert job.code == 1
    assert job.last_line().startswith("nfdt: all workers were lost.")


@pytest.mark.parametrize("case", ["raise1@4", "raise0@4,raise1@4"])
def test_an_exception_ends_the_job_and_is_named_with_the_users_line(tmp_path, case):
    job = run(tmp_path, case)
    assert job.code == 1
    line = r"worker [01] \(.*\) failed: LookupError: no such label: 7 \(fits.py:\d+: "
    assert re.search(line, job.last_line()), job.text
    assert "LookupError: no such label: 7\n" in job.text
    [record] = tmp_path.glob("**/failure.json")
    failure = failures.read_record(record.parent)
    assert failure.type == "LookupError"
    assert "fits.py" in failure.traceback
    assert "failed" in {kind for kind, _ in real_runs.happenings(tmp_path)}


def test_the_exit_code_of_a_script_is_that_of_the_job(tmp_path):
    job = run(tmp_path, "exit1@4")
    assert job.code == 3
    assert "worker 1" in job.last_line()
    assert "SystemExit: 3" in job.last_line()
    assert "Traceback" not in job.text


@pytest.mark.parametrize("options", [(), ("--overlap",)])
def test_nan_is_refused_and_worker_and_variable_are_named(tmp_path, options):
    job = run(tmp_path, "nan", *options)
    assert job.code == 0, job.text
    pattern = r"worker [01]: the gradient of .*kernel is NaN or infinite; the server"
    assert len(said(job, pattern)) == EPOCHS
    kinds = [kind for kind, _ in real_runs.happenings(tmp_path)]
    assert kinds.count("refused") == EPOCHS


def test_as_many_nan_in_a_row_as_were_allowed_end_the_job(tmp_path):
    job = run(tmp_path, "nan", "--refuse-at-most", 1)
    assert job.code == 1
    assert "1 gradients in a row were NaN or infinite" in job.last_line()


def test_nan_in_steps_that_all_workers_make_leaves_them_together(tmp_path):
    options = ("--consistency", "local:2", "--refuse-at-most", BATCHES)
    job = run(tmp_path, "nan,byhand", *options)
    assert job.code == 0, job.text
    refused = said(job, "worker 0: the gradient of .* is NaN or infinite")
    assert len(refused) == BATCHES // 2
    texts = (job.text, (tmp_path / "logs" / "rank-1.log").read_text())
    first, second = (re.findall("^ended (.*)$", text, re.MULTILINE) for text in texts)
    assert first == second != []


def test_workers_with_different_models_are_refused(tmp_path):
    job = run(tmp_path, "fewer1")
    assert job.code == 1
    assert "must be the same on every rank. Received: variable 0" in job.last_line()


def test_ctrl_c_ends_everything_at_once(tmp_path):
    words = (*real_runs.RUN, "-np", 2, real_runs.FITS, "slow")
    job = real_runs.Job(tmp_path, *words, interrupt_at="begins epoch 1", EPOCHS="50")
    assert job.left() == []
    assert job.code == 130
    assert job.last_line() == "nfdt: stopped by SIGINT; every rank has ended."


def test_under_mpirun_with_fault_tolerance_the_same(tmp_path):
    job = mpirun(tmp_path, "kill1@4", "--with-ft", "ulfm")
    expect_whole(job, tmp_path)
    assert said(job, WORKER_1)


def test_plain_mpirun_says_what_it_does_not_survive(tmp_path):
    job = mpirun(tmp_path, "kill1@4")
    assert job.code != 0
    assert said(job, "this job ends when a worker dies: it was started without fault")
