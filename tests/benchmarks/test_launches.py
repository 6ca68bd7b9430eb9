"""Who runs, in which order, by which command line; nothing is started."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.launches import CONTENDERS, ROOT, Machine, environment, order
from benchmarks.work import Work

MACHINE = Machine(python="/env/bin/python", cores=4, ports=(4001, 4002))
WORK = Work("cnn", "a title", 128, steps=10, epochs=2, contenders=(), model="cnn")
UNEVEN = dataclasses.replace(WORK, slowdown=4)


def argv_of(name: str, work: Work = WORK, process: int = 0) -> list[str]:
    """Return the arguments of one of the contender's processes."""
    return list(CONTENDERS[name].launches(work, MACHINE)[process].argv)


def option(argv: list[str], name: str) -> str:
    """Return the word after an option."""
    return argv[argv.index(name) + 1]


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_trains_the_same_samples_per_rank(name):
    argv = argv_of(name)
    # fit's script sees all ranks of its job: HFDT's share a batch, NFDT's share the
    # batches. The loops by hand see their own rank.
    shared = {"hfdt": (256, 10), "nfdt": (128, 20), "nfdt-overlap": (128, 20)}
    batch, steps = shared.get(name, (128, 10))
    assert option(argv, "--batch") == str(batch)
    assert option(argv, "--steps") == str(steps)
    assert option(argv, "--epochs") == "2"
    assert "--slowdown" not in argv
    assert Path(next(word for word in argv if word.endswith(".py"))).is_file()


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("hfdt", [MACHINE.python, "-m", "hfdt.cli", "run", "-np", "2"]),
        ("hfdt-one", [MACHINE.python, "-m", "hfdt.cli", "run", "-np", "1"]),
        ("nfdt", [MACHINE.python, "-m", "nfdt.cli", "run", "-np", "2"]),
        (
            "nfdt-overlap",
            [MACHINE.python, "-m", "nfdt.cli", "run", "--overlap", "-np", "2"],
        ),
        ("pss", [MACHINE.python]),
        ("mpirun", ["mpirun", "-np", "2", MACHINE.python]),
        ("gloo", ["horovodrun", "--gloo", "-np", "2", MACHINE.python]),
        ("alone", [MACHINE.python]),
    ],
)
def test_launchers_get_no_special_settings(name, begin):
    launches = CONTENDERS[name].launches(WORK, MACHINE)
    argv = argv_of(name)
    script = next(i for i, word in enumerate(argv) if word.endswith(".py"))
    assert argv[:script] == begin
    assert [dict(launch.environ) for launch in launches] == [{}]


def test_copies_share_the_cores_and_outlast_each_others_timing():
    launches = CONTENDERS["copies"].launches(WORK, MACHINE)
    assert len(launches) == 2
    assert option(argv_of("copies"), "--tail") == "1"
    assert launches[1].environ["TF_NUM_INTRAOP_THREADS"] == "2"


@pytest.mark.parametrize("name", ["hfdt", "nfdt", "nfdt-overlap"])
def test_the_last_rank_of_an_uneven_job_is_the_slow_one(name):
    argv = argv_of(name, UNEVEN)
    assert option(argv, "--slowdown") == "4"
    assert option(argv, "--slow-rank") == "1"


def test_one_of_two_uneven_copies_is_slow_and_the_other_outlasts_it():
    fast, slow = (argv_of("copies", UNEVEN, process) for process in range(2))
    assert option(slow, "--slowdown") == "4"
    assert option(slow, "--slow-rank") == "0"  # each copy is rank 0 of itself
    assert "--slowdown" not in fast
    # In epochs of the fast one, the first being slow in neither.
    assert 1 + 2 + int(option(fast, "--tail")) > 1 + 2 * 4
    assert "--tail" not in slow


def test_mirrored_workers_know_each_other():
    launches = CONTENDERS["mirrored"].launches(WORK, MACHINE)
    configs = [json.loads(launch.environ["TF_CONFIG"]) for launch in launches]
    assert [config["task"]["index"] for config in configs] == [0, 1]
    addresses = ["127.0.0.1:4001", "127.0.0.1:4002"]
    assert all(config["cluster"] == {"worker": addresses} for config in configs)


def test_the_callers_mpirun_comes_before_the_environments_own():
    given = {"PATH": "/cluster/bin", "PYTHONPATH": "/mine"}
    found = environment(given, "/env/bin/python", user_id=1000)
    assert found == {"PATH": "/cluster/bin:/env/bin", "PYTHONPATH": f"{ROOT}:/mine"}


@pytest.mark.parametrize(("user_id", "allowed"), [(0, True), (1000, False)])
def test_only_root_tells_open_mpi_so(user_id, allowed):
    found = environment({}, "/env/bin/python", user_id)
    assert ("OMPI_ALLOW_RUN_AS_ROOT" in found) is allowed


def test_every_second_round_runs_backwards():
    assert order(["a", "b", "c"], 0) == ["a", "b", "c"]
    assert order(["a", "b", "c"], 1) == ["c", "b", "a"]
