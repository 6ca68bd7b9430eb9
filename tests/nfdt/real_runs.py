"""Real runs of a user: commands, and what the trace and the files say of them."""

from __future__ import annotations

import collections
import json
import pathlib
import re
import sys

from nfdt.protocol.events import Use
from nfdt.telemetry import trace
from tests.hfdt.real_jobs import Job

FITS = pathlib.Path(__file__).parent / "failing" / "fits.py"
RUN = (sys.executable, "-m", "nfdt.cli", "run")
PYTHON = (sys.executable, "-m", "nfdt")
BATCHES, EPOCHS = 24, 3


def run(folder, case, *options, np=2, **environ):
    """Runs ``nfdt run`` on the small fits; nothing of it may be left."""
    words = ("-np", np, "--trace", "trace", "--output", "logs", *options, FITS, case)
    begun = str(folder / "begun")
    return _ended(Job(folder, *RUN, *words, BEGUN=begun, **environ))


def mpirun(folder, case, *options, np=3, **environ):
    """The same under a plain ``mpirun``."""
    words = ("mpirun", *options, "--oversubscribe", "-np", np, *PYTHON, FITS, case)
    traced = {"NFDT_TRACE": str(folder / "trace"), "BEGUN": str(folder / "begun")}
    environ = traced | environ
    return _ended(Job(folder, *words, **environ))


def _ended(job):
    assert job.left() == [], job.text
    return job


def visits(folder):
    """Returns epoch -> how often each batch was told of, as the trace tells.

    Local steps that their worker has not pushed, because it was lost, do not count.
    """
    found = collections.defaultdict(collections.Counter)
    events = trace.read(folder / "trace").events
    pushed = {event.worker: event.clock for event in events if event.use != Use.OWN}
    for event in events:
        is_lost = event.use == Use.OWN and event.clock > pushed.get(event.worker, 0)
        if event.number >= 0 and not is_lost:  # else it is a push of several steps
            found[event.epoch & 0xFFFFFFFF][event.number] += 1
    return dict(found)


def every_batch_once(epochs=range(EPOCHS)):
    return {epoch: dict.fromkeys(range(BATCHES), 1) for epoch in epochs}


def happenings(folder):
    """Returns kind and worker of what happened to workers beside training."""
    found = trace.read(folder / "trace").happenings
    return [(h["kind"], h["worker"]) for h in found if "worker" in h]


def samples(path):
    """Returns how often each sample was trained on: epoch -> counts, by sample."""
    counts = collections.defaultdict(collections.Counter)
    for line in path.read_text().splitlines():
        found = json.loads(line)
        counts[found["epoch"]].update(found["samples"])
    return dict(counts)


def said(job, pattern):
    """Returns the lines of ours that match; the launcher's and the workers'."""
    lines = [line for line in job.text.splitlines() if line.startswith("nfdt: ")]
    return [line for line in lines if re.search(pattern, line)]
