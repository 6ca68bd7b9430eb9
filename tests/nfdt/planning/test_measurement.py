"""``nfdt calibrate``: what it refuses, when it has enough, and one real measurement."""

import contextlib
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nfdt import algorithms
from nfdt.cli import calibrate
from nfdt.clusters import cluster_yaml
from nfdt.planning import measurement
from nfdt.planning.calibration import PROBE
from nfdt.planning.probe import Probe
from nfdt.protocol.events import Event
from nfdt.protocol.group_spec import GroupSpec
from nfdt.telemetry.trace import TraceWriter

SGD = {"class_name": "SGD", "config": {"learning_rate": 0.1}}
SPEC = GroupSpec(
    "asgd", SGD, (("weights", (100_000,)),), dtype="float32", wire="float16"
)
PROBE_FOUND = Probe(SPEC, exchange_s=0.5)


def pushes(workers, count, period_s=0.1, group=7):
    known = {**dict.fromkeys(Event._fields, 0), "group": group, "compute_s": 0.05}
    return [
        Event(**{**known, "time_s": step * period_s, "worker": worker})
        for step in range(count)
        for worker in range(workers)
    ]


class Run:
    """A run that stands still, in place of real processes."""

    returncode = 3

    def __init__(self, looks):
        self.looks = looks  # how often it is still there

    def poll(self):
        self.looks -= 1
        return None if self.looks >= 0 else self.returncode


@pytest.fixture
def run(tmp_path, monkeypatch, no_process):
    """Lets a run with a trace of some pushes be measured; returns its Run, too."""

    def measure(events, looks=2):
        writer = TraceWriter(tmp_path / "trace", {})
        writer.add(events)
        writer.close()
        (tmp_path / "logs").mkdir()
        probe = PROBE_FOUND.to_json()
        (tmp_path / "logs" / "probe.json").write_text(probe)
        (tmp_path / "output.txt").write_text("the first line\nKeyError: 'x'\n")
        made, said = Run(looks), []
        monkeypatch.setattr(
            measurement, "_running", lambda *_: contextlib.nullcontext(made)
        )
        monkeypatch.setattr(measurement.time, "sleep", lambda s: None)
        found = measurement.measure(["train.py"], 2, "asgd", tmp_path, said.append)
        return found, made

    return measure


def test_fifty_steps_of_each_worker_are_enough(run):
    found, made = run(pushes(2, 80), looks=1000)
    assert found.costs.params_bytes == 400_000
    assert found.costs.push_bytes == 200_000  # float16
    assert found.costs.exchange_s == 0.5
    assert 0 < found.costs.update_s < found.costs.model_update_s < 0.5
    assert len(found.events) >= 100
    assert made.looks == 999  # it was stopped at the first look


def test_half_a_minute_of_fewer_is_enough(run):
    found, made = run(pushes(2, 20, period_s=3.0), looks=1000)
    assert made.looks == 999
    assert 20 <= len(found.events) < 40


def test_what_a_run_that_ends_by_itself_has_left_is_taken(run):
    found, made = run(pushes(2, 30))
    assert made.looks == -1
    assert len(found.events) >= 40


def test_exchanges_of_the_probe_are_no_steps(run):
    found, _ = run(pushes(2, 30) + pushes(1, 500, group=PROBE))
    assert {event.group for event in found.events} == {7}


def test_too_few_steps_are_refused_with_the_last_words_of_the_run(run):
    with pytest.raises(ValueError) as found:
        run(pushes(2, 9))
    said = str(found.value)
    assert said.startswith("the script must train for 10 steps of each worker")
    assert "Received: 4, and exit code 3." in said
    assert said.endswith("  the first line\n  KeyError: 'x'")


def test_a_model_of_several_optimizers_is_refused(run):
    with pytest.raises(ValueError, match=r"one optimizer, .* Received: 2 groups"):
        run(pushes(2, 30) + pushes(2, 30, group=8))


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measurement, "measure", lambda *_: pytest.fail("it has run"))
    Path("train.py").write_text("pass\n")
    return "train.py"


# Each: the options, and what the one line says.
REFUSALS = {
    "algorithm": (("--algorithm", "x"), "algorithm must be one of asgd"),
    "output": (("--output", "train.py"), "the file must not exist yet. Received: "),
    "folder": (("--output", "a/b.yaml"), "the file's folder must exist"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_before_anything_runs(script, case):
    options, text = REFUSALS[case]
    result = CliRunner().invoke(calibrate.calibrate, [*options, script])
    assert result.exit_code == 2
    assert result.output.startswith(f"nfdt: {text}")


def test_scripts_that_cannot_run_are_refused(script):
    result = CliRunner().invoke(calibrate.calibrate, ["nowhere.py"])
    assert "the script must exist" in result.output
    result = CliRunner().invoke(calibrate.calibrate, ["-m", "no.module"])
    assert "no.module" in result.output
    assert result.exit_code == 2


def test_help_teaches():
    text = CliRunner().invoke(calibrate.calibrate, ["--help"]).output
    for word in ("Examples:", "--workers", algorithms.DEFAULT, "cluster.yaml"):
        assert word in text


TRAIN = """
import pathlib, keras, numpy, sys
pathlib.Path("written-by-the-script").write_text("x")
hidden = keras.layers.Dense(50)
model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(1)])
model.compile("adam", "mse")
x = numpy.ones((int(sys.argv[1]), 4))
model.fit(x, x[:, :1], batch_size=4, epochs=100, verbose=0)
"""


@pytest.mark.mpi
@pytest.mark.slow
def test_a_real_measurement(tmp_path):
    from tests.hfdt.real_jobs import Job

    (tmp_path / "train.py").write_text(TRAIN)
    program = "from nfdt.cli.calibrate import calibrate; calibrate()"
    words = ("--workers", 2, "--output", "here.yaml", "train.py", 4000)
    job = Job(tmp_path, sys.executable, "-c", program, *words, NFDT_CONSISTENCY="bsp")
    assert job.left() == []
    assert job.code == 0, job.text
    assert job.text.splitlines()[-1] == "here.yaml"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.yaml", "train.py"]
    cluster = cluster_yaml.read(tmp_path / "here.yaml")
    (group,) = cluster.groups
    assert (group.count, cluster.num_workers) == (2, 2)
    assert 1e-4 < group.step.mean_s < 1
    # On a machine with other work to do all of it may count as jitter.
    assert 0 <= group.link.latency_s < 0.1
    assert 0 < group.link.latency_s + group.link.jitter_s < 0.1
    assert 0 < cluster.servers.overhead_s < 0.1
    text = (tmp_path / "here.yaml").read_text()
    assert "# train.py 4000, with ddc-asgd.\n" in text
    assert "steps of 2 workers at once: mean " in text
