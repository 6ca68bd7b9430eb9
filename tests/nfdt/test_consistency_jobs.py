"""Who waits, over MPI: three workers, one that is slow and one that dies."""

from __future__ import annotations

import collections
import re

import pytest

from nfdt.protocol.events import BARRIER, READINGS, Use
from nfdt.telemetry import report, trace
from tests.nfdt import real_runs
from tests.nfdt.real_runs import every_batch_once, run, said

pytestmark = [pytest.mark.mpi, pytest.mark.slow]
CASE = "slow,lag2,kill1@5"
WORKERS = (0, 1, 2)


def recorded(folder, consistency, case=CASE):
    """Runs a job; returns it and its trace. It has trained on every batch once."""
    job = run(folder, case, "--consistency", consistency, np=3)
    assert job.code == 0, job.text
    assert real_runs.visits(folder) == every_batch_once()
    assert ("lost", 1) in real_runs.happenings(folder)
    return job, trace.read(folder / "trace")


def own_steps(found):
    """Returns worker -> the numbers of local steps before each of its pushes."""
    counts = {worker: [0] for worker in WORKERS}
    clocks = dict.fromkeys(WORKERS, 0)
    for event in sorted(found.events, key=lambda e: (e.worker, e.clock)):
        # A push that was refused is counted by the worker's clock, and is no event.
        was_refused = event.clock > clocks[event.worker] + 1
        clocks[event.worker] = event.clock
        if event.use != Use.OWN or was_refused:
            counts[event.worker].append(0)
        counts[event.worker][-1] += event.use == Use.OWN
    return counts


def test_dsp(tmp_path):
    _, found = recorded(tmp_path, "dsp:s=3,w=2,s_max=6")
    kinds = collections.Counter(one["kind"] for one in found.happenings)
    assert kinds[BARRIER] > 5
    readers = {h["worker"] for h in found.happenings if h["kind"] == READINGS}
    assert readers >= {0, 2}  # worker 1 dies, before its first second or after
    last = [h for h in found.happenings if h["kind"] == BARRIER][-1]
    # Worker 2 sleeps four times as long; what else a step takes is the same.
    assert 1.5 < last["factor"] < 6
    assert last["stale"] > 3
    lead = max(event.lead for event in found.events if event.use == Use.OWN)
    assert 2 <= lead <= 6
    assert report.write(tmp_path / "trace").picture.exists()


def test_parts_of_gradients_and_parameters(tmp_path):
    # Of 2001 elements 1200 are compressed: in the first epoch to 269, then to 60, with
    # their places. As many answer them, all of the others among them; at first all.
    wire = ("--wire", "dgc:0.05,warmup=1")
    job = run(tmp_path, f"{CASE},wide,momentum", *wire, np=3)
    assert job.code == 0, job.text
    assert real_runs.visits(tmp_path) == every_batch_once()
    assert said(job, "wire: the momentum 0.9 of SGD acts on each worker")
    (line,) = said(job, "nfdt: wire  ")
    assert re.search(r"gradients 1/1\.8\d, parameters 1/1\.1", line)


def test_signs_and_narrow_parameters(tmp_path):
    job = run(tmp_path, "wide", "--wire", "sign")
    assert job.code == 0, job.text
    assert real_runs.visits(tmp_path) == every_batch_once()
    (line,) = said(job, "nfdt: wire  ")  # 150 + 4 + 3204 bytes, and 4002, of 8004
    assert "gradients 1/2.38, parameters 1/2 of" in line


def test_local_steps(tmp_path):
    # A worker whose steps have come to NaN goes on from the shared parameters. The
    # trace does not tell of a push that was refused: worker 1's only one may not be.
    job, found = recorded(tmp_path, "local:4", f"{CASE},momentum,nan")
    refused = said(job, r"worker \d: the gradient of .*kernel is NaN or infinite")
    # Once an epoch, as neither parameters nor momentum hold NaN after it; not if it was
    # of the steps that were lost with worker 1.
    assert real_runs.EPOCHS - 1 <= len(refused) <= real_runs.EPOCHS
    steps = own_steps(found)
    # All but those that an epoch has ended are of four steps.
    assert max(max(counts) for counts in steps.values()) == 4
    assert said(job, "updates .* local steps of the workers")


def test_partial_rounds(tmp_path):
    # Before worker 1 dies the slow one has to come too late for a round of the others.
    job, found = recorded(tmp_path, "partial:0.6", "slow,lag2,kill1@9")
    updates = [event for event in found.events if event.use == Use.UPDATE]
    dropped = [event for event in found.events if event.use == Use.DROPPED]
    assert all(event.staleness == 0 for event in updates)
    assert dropped  # while there were three, two of them made a round
    assert said(job, f"{len(dropped)} late gradients dropped")
