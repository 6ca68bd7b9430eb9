"""Who runs, in which order, by which command line; nothing is started."""

import json
from pathlib import Path

import pytest

from benchmarks.benchmark import REFERENCES, Settings
from benchmarks.launches import CONTENDERS, ROOT, Machine, environment, order
from benchmarks.work import WORKS, Work

MACHINE = Machine(python="/env/bin/python", cores=4, ports=(4001, 4002))
WORK = Work("cnn", "a title", batch_per_rank=128, steps=10, epochs=2)


def argv_of(name: str) -> list[str]:
    """Return the arguments of the contender's first process."""
    return list(CONTENDERS[name].launches(WORK, MACHINE)[0].argv)


def option(argv: list[str], name: str) -> str:
    """Return the word after an option."""
    return argv[argv.index(name) + 1]


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_trains_the_same_samples_per_rank(name):
    launches = CONTENDERS[name].launches(WORK, MACHINE)
    argv = list(launches[0].argv)
    # fit's script sees all ranks of its job, the loops by hand see their own rank.
    ranks = int(option(argv, "-np")) if name in ("hfdt", "hfdt-one") else 1
    assert option(argv, "--batch") == str(128 * ranks)
    assert option(argv, "--steps") == "10"
    assert option(argv, "--epochs") == "2"
    assert Path(next(word for word in argv if word.endswith(".py"))).is_file()


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("hfdt", [MACHINE.python, "-m", "hfdt.cli", "run", "-np", "2"]),
        ("hfdt-one", [MACHINE.python, "-m", "hfdt.cli", "run", "-np", "1"]),
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


def test_hfdt_runs_only_where_a_chosen_reference_needs_it():
    def names(*only: str) -> list[str]:
        return Settings(1, False, ("cnn",), only).names()

    assert names("alone") == ["hfdt-one", "alone"]
    assert names("gloo", "copies") == ["hfdt", "copies", "gloo"]
    assert names(*REFERENCES) == list(CONTENDERS)


def test_quick_shortens_the_work_and_leaves_its_batch():
    quick = Settings(1, True, ("cnn",), REFERENCES).work("cnn")
    assert quick.steps < WORKS["cnn"].steps
    assert quick.batch_per_rank == WORKS["cnn"].batch_per_rank
