"""``nfdt simulate`` and ``nfdt compare`` on scripts of users."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nfdt.cli.command import main
from nfdt.telemetry import trace
from tests.processes import Process, run, wait_until

CLUSTERS = Path(__file__).parents[3] / "examples" / "clusters"
NFDT = (sys.executable, "-m", "nfdt.cli")
LOOP = """
import keras, numpy as np, sys, tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.normal(size=(64, 3)).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.05)
for epoch in range(int(sys.argv[1])):
    for batch, target in tf.data.Dataset.from_tensor_slices((x, y)).batch(8):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(batch) - target) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
print("loss", float(loss))
"""
FIT = """
import keras, numpy as np, sys
keras.utils.set_random_seed(0)
x = np.random.normal(size=(320, 3)).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.01), "mse")
model.fit(x, y, batch_size=8, epochs=int(sys.argv[1]), verbose=0)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(LOOP)
    return path


def nfdt(*words):
    found = CliRunner().invoke(main, [str(word) for word in words])
    return found.exit_code, found.output


HEARD_S = 30  # from Ctrl-C to the end


@pytest.mark.slow
@pytest.mark.parametrize("program", [LOOP, FIT], ids=["loop", "fit"])
def test_a_simulation_ends_at_once_and_leaves_its_trace_when_interrupted(
    program, script
):
    script.write_text(program)
    folder = script.parent / "run"
    cluster = ("--cluster", CLUSTERS / "even.yaml", "--workers", "3")
    words = [*NFDT, "simulate", *cluster, "--trace", folder, script, "100000"]
    with Process(*words) as job:
        job.wait_until(lambda: num_pushes(folder) >= 30, "30 pushes")
        presses = 0
        # The first is lost in one run of thirty, it is not known where: the loop goes
        # on without a word. A user presses Ctrl-C again.
        while job.returncode is None and presses < 3:
            job.send(signal.SIGINT)
            presses += 1
            with contextlib.suppress(AssertionError):
                wait_until(lambda: job.returncode is not None, "the end", HEARD_S)
        done = job.ended(HEARD_S)
    assert done.returncode != 0
    assert "nfdt: simulated " in done.stderr
    found = trace.read(folder)
    assert found.facts["workers"] == 3
    assert {event.worker for event in found.events} == {0, 1, 2}
    assert max(event.staleness for event in found.events) >= 2


def num_pushes(folder):
    return len(trace.read(folder).events) if (folder / trace.NAME).exists() else 0


@pytest.mark.slow
def test_ways_to_train_are_compared(script):
    script.write_text(FIT)
    output = script.parent / "out"
    words = [*NFDT, "compare", "--cluster", CLUSTERS / "straggler.yaml"]
    words += ["--pair", "asgd/asp", "--pair", "asgd/bsp", "--output", output]
    words += [script, "2"]
    done = run(*words, lean=False)
    assert done.returncode == 0, done.stderr
    table, recommended = done.stdout.split("\n\n")[:2]
    rows = [row.split()[0] for row in table.splitlines()[1:]]
    assert rows[0] == "asgd/asp"
    assert sorted(rows) == ["asgd/asp", "asgd/bsp", "hfdt"]
    assert recommended.startswith("recommended  asgd/asp: loss ")
    assert (output / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "compare.txt").read_text().startswith(table)
    # A worker for each batch; the ring has the same pushes, at other times.
    assert len(trace.read(output / "hfdt").events) == 80
    assert "nfdt: 3/3 hfdt ..." in done.stderr


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--cluster", "none.yaml"], "none.yaml"),
        (
            ["--cluster", CLUSTERS / "even.yaml", "--algorithm", "sgdd"],
            "must be one of",
        ),
        (
            ["--cluster", CLUSTERS / "straggler.yaml", "--workers", "3"],
            "can be resized",
        ),
        (["--cluster", CLUSTERS / "even.yaml", "--trace", "/proc/x"], "writable"),
        (
            [
                *("--cluster", CLUSTERS / "terminal_edge_cloud.yaml"),
                *("--consistency", "local:2"),
            ],
            "edge node",
        ),
    ],
)
def test_what_cannot_be_simulated_is_refused_at_once(script, words, rule):
    code, said = nfdt("simulate", *words, script)
    assert code == 2
    assert rule in said and "Received: " in said


def test_a_script_that_is_not_there_is_named(tmp_path):
    even = CLUSTERS / "even.yaml"
    code, said = nfdt("simulate", "--cluster", even, tmp_path / "no.py")
    assert code == 2 and "the script must exist" in said


@pytest.mark.parametrize("pair", ["asgd", "asgd/never", "nothing/asp", "easgd/bsp"])
def test_pairs_that_are_none_are_refused(script, tmp_path, pair):
    even = CLUSTERS / "even.yaml"
    words = ("--cluster", even, "--pair", pair, "--output", tmp_path / "out", script)
    code, said = nfdt("compare", *words)
    assert code == 2 and "Received: " in said


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_help_teaches(command):
    code, said = nfdt(command, "--help")
    assert code == 0
    assert f"nfdt {command} --cluster examples/clusters/straggler.yaml" in said


def test_several_processes_are_no_simulation(monkeypatch, script):
    from fdtcore.process import Process
    from nfdt.options import Options
    from nfdt.simulation import launch

    environ = {**os.environ, launch.CLUSTER: str(CLUSTERS / "even.yaml")}
    with pytest.raises(ValueError, match="a simulation is one process"):
        launch.check(Options(), Process(1, 2), environ)


# What real runs alone have, and a value that is no default.
REAL_RUNS_ONLY = {
    "servers": 2,
    "overlap": True,
    "on_worker_loss": "abort",
    "stall_timeout": 9.0,
    "link_timeout": 9.0,
    "interface": "eth1",
    "checkpoint": "folder",
    "checkpoint_every": 9.0,
    "resume": "folder",
}


@pytest.mark.parametrize("name", REAL_RUNS_ONLY)
def test_an_option_of_real_runs_is_refused_however_it_is_given(script, name):
    from nfdt.clusters import cluster_yaml
    from nfdt.options import Options, real_runs_only
    from nfdt.simulation import supported

    assert set(real_runs_only()) == set(REAL_RUNS_ONLY)
    value = REAL_RUNS_ONLY[name]
    even = CLUSTERS / "even.yaml"
    options = Options(algorithm="asgd", **{name: value})
    with pytest.raises(ValueError, match=rf"no {name}\. Received: {name}={value!r}\."):
        supported.check(options, cluster_yaml.read(even))
    flag = f"--{name.replace('_', '-')}"
    code, said = nfdt("simulate", "--cluster", even, flag, value, script)
    assert code == 2 and f"No such option '{flag}'" in said
