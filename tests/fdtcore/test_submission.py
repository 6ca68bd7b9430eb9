"""Jobs that an engine takes as a text: what the commands print of them."""

from __future__ import annotations

import re
import shlex
import sys

import pytest
import yaml
from click.testing import CliRunner

import hfdt.cli
import nfdt.cli
from fdtcore.launcher.engines import pod_words
from fdtcore.launcher.engines.pod_words import PodWords

COMMANDS = {"hfdt": hfdt.cli.main, "nfdt": nfdt.cli.main}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls ``run`` in a folder that has a script."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")

    def call(program, on, *words):
        options = ["run", "--on", on, *words, "train.py", "--epochs", "3"]
        return CliRunner().invoke(COMMANDS[program], options)

    return call


def test_a_batch_script_runs_the_command_in_its_allocation(run, tmp_path):
    words = ("-np", "4", "-x", "PATH", "--output", "out", "--dry-run")
    done = run("hfdt", "slurm=--nodes=2 --comment='a b'", *words)
    assert done.exit_code == 0
    first, *options, last = done.stdout.splitlines()
    assert first == "#!/bin/sh"
    found = [shlex.split(line)[1:] for line in options]
    assert [
        *(["--job-name=hfdt"], ["--ntasks=4"], [f"--chdir={tmp_path}"]),
        [f"--output={tmp_path}/out/batch.out"],
        [f"--error={tmp_path}/out/batch.err"],
        *(["--no-requeue"], ["--nodes=2"], ["--comment=a b"]),
    ] == found
    assert shlex.split(last) == [
        *("exec", sys.executable, "-m", "hfdt.cli", "run", "--output"),
        *(f"{tmp_path}/out", "-x", "PATH", "train.py", "--epochs", "3"),
    ]


def test_servers_are_tasks_of_a_batch_job(run):
    done = run("nfdt", "slurm", "-np", "4", "--servers", "2", "--dry-run")
    assert "#SBATCH --ntasks=6\n" in done.stdout


def test_slurm_that_is_not_here_is_named(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("hfdt", "slurm", "-np", "2")
    assert done.exit_code == 2
    assert "sbatch must be on the PATH" in done.stderr


def test_a_manifest_has_what_the_command_says(run):
    on = "kubernetes=mpijob --image r/x:1 --slots 2 --resources cpu=4,memory=8Gi"
    words = ("-np", "4", "--batch", "per-worker", "-x", "PATH", "--dry-run")
    done = run("hfdt", on, *words)
    assert done.exit_code == 0, done.stderr
    document = yaml.safe_load(done.stdout)
    assert document["metadata"]["name"] == "train"
    replicas = document["spec"]["mpiReplicaSpecs"]
    assert replicas["Worker"]["replicas"] == 2
    [launcher] = replicas["Launcher"]["template"]["spec"]["containers"]
    assert launcher["command"][-3:] == ["train.py", "--epochs", "3"]
    assert ["hfdt", "run", "-np", "4"] == launcher["command"][5:9]
    variables = {one["name"]: one for one in launcher["env"]}
    assert variables["HFDT_BATCH"]["value"] == "per-worker"
    assert variables["PATH"]["valueFrom"]["secretKeyRef"]["name"] == "train-env"
    [worker] = replicas["Worker"]["template"]["spec"]["containers"]
    assert worker["resources"] == {"limits": {"cpu": "4", "memory": "8Gi"}}


def test_ranks_without_mpi_have_a_pod_each(run):
    done = run("hfdt", "kubernetes=job --image r/x:1", "-np", "3", "--dry-run")
    job = list(yaml.safe_load_all(done.stdout))[-1]
    [rank] = job["spec"]["template"]["spec"]["containers"]
    assert rank["command"][1:4] == ["-m", "hfdt.pod_rank", "3"]


REFUSED = {
    "no dry run": ("hfdt", "kubernetes=--image a", (), "prints a manifest, and starts"),
    "no image": ("hfdt", "kubernetes", ("--dry-run",), "required: --image"),
    "a kind": ("hfdt", "kubernetes=pod --image a", ("--dry-run",), "'pod'"),
    "no amount": (
        *("hfdt", "kubernetes=--image a --resources cpu", ("--dry-run",)),
        "cpu, not NAME=AMOUNT",
    ),
    "servers": ("nfdt", "kubernetes=job --image a", ("--dry-run",), "speak MPI"),
    "hosts": ("hfdt", "dask=a", ("-H", "a:2"), r"--on dask=a and -H\. Drop one"),
    "a host file": ("nfdt", "dask=a", ("--hostfile", "f"), r"and --hostfile\. Drop"),
    "a launcher": ("hfdt", "dask=a", ("--launcher", "gloo"), r"and --launcher\. Drop"),
    "an engine": ("hfdt", "yarn", (), "--on must be one of spark, ray, dask, slurm"),
    "a time": ("hfdt", "dask=a", ("--slots-timeout", "soon"), "must be a time > 0"),
    "no time": ("hfdt", "dask=a", ("--slots-timeout", "0s"), "must be a time > 0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_engine_can_do_is_refused(run, what):
    program, on, words, line = REFUSED[what]
    done = run(program, on, "-np", "2", *words)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{program}: ")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(line, done.stderr), done.stderr


def test_without_a_number_of_processes_there_is_none(run):
    done = run("hfdt", "dask=a")
    assert "the number of processes must be given" in done.stderr


def test_words_of_pods():
    assert pod_words.parse("--image a") == PodWords("mpijob", "a", "", 1, {}, "")
    assert pod_words.parse("job --image a --name n --volume c:/d") == PodWords(
        "job", "a", "n", 1, {}, "c:/d"
    )
