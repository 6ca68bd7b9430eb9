"""What `hfdt doctor` finds wrong, and the cure it names."""

import dataclasses
from pathlib import Path

import pytest

from hfdt.install import checks, doctor
from hfdt.install.checks import CheckResult
from hfdt.install.stack import InstallError
from hfdt.install.trial import Trial
from tests.hfdt.stacks import CLUSTER, MPI, STACK


def report_of(monkeypatch, *findings: CheckResult) -> tuple[int, list[str]]:
    lines: list[str] = []
    monkeypatch.setattr(doctor, "_CHECKS", (lambda: findings,))
    return doctor.doctor(lines.append), lines


def test_all_right_is_exit_code_0(monkeypatch):
    code, lines = report_of(monkeypatch, CheckResult("Cores", "2"))
    assert (code, lines) == (0, ["Cores       2", "Nothing is wrong."])


def test_each_wrong_thing_has_its_cure(monkeypatch):
    code, lines = report_of(
        monkeypatch, CheckResult("A", "bad", "do x"), CheckResult("B", "bad", "do y")
    )
    assert code == 1
    assert [line for line in lines if "Cure" in line] == [
        "            WRONG. Cure: do x",
        "            WRONG. Cure: do y",
    ]
    assert lines[-1].startswith("2 wrong")


@pytest.mark.parametrize(
    ("version", "right"),
    [("2.16.2", True), ("2.21.0", True), ("2.15.1", False), ("2.22.0", False)],
)
def test_tensorflow_range(version, right):
    assert (checks.tensorflow_finding(version).cure is None) is right


def test_no_tensorflow():
    assert "pip install" in (checks.tensorflow_finding(None).cure or "")


@pytest.mark.parametrize(
    ("version", "environ", "cure"),
    [
        ("3.15.1", {}, None),
        ("3.15.1", {"KERAS_BACKEND": "tensorflow"}, None),
        ("3.15.1", {"KERAS_BACKEND": "jax"}, "unset KERAS_BACKEND"),
        ("3.15.1", {"TF_USE_LEGACY_KERAS": "1"}, "unset TF_USE_LEGACY_KERAS"),
        ("3.15.1", {"TF_USE_LEGACY_KERAS": "0"}, None),
        ("2.15.0", {}, "pip install 'keras>=3'"),
        (None, {}, "pip install 'keras>=3'"),
    ],
)
def test_keras(version, environ, cure):
    assert checks.keras_finding(version, environ).cure == cure


def test_horovod_missing(monkeypatch):
    monkeypatch.setattr(checks, "check_installed", lambda: "hfdt needs Horovod.")
    monkeypatch.setattr(checks, "installed_record", lambda: None)
    (finding,) = checks.horovod()
    assert finding.cure == "hfdt install-horovod"


def test_horovod_says_what_it_was_built_with(monkeypatch):
    monkeypatch.setattr(checks, "check_installed", lambda: None)
    monkeypatch.setattr(checks, "installed_record", STACK.record)
    (finding,) = checks.horovod()
    assert "TensorFlow 2.21.0 and Open MPI 5.0.11, no GPU operations" in finding.text
    assert finding.cure is None


@pytest.mark.parametrize(
    ("found", "right"),
    [(MPI, True), (CLUSTER, False), (dataclasses.replace(MPI, version="4.1"), False)],
)
def test_mpirun_must_be_the_one_horovod_was_built_with(found, right):
    finding = checks.mpi_finding(found, STACK.record())
    assert (finding.cure is None) is right
    assert right or "Horovod was built with Open MPI 5.0.11 of" in finding.text


def test_no_mpi_is_wrong(monkeypatch):
    def nowhere() -> None:
        raise InstallError("no mpirun on the PATH")

    monkeypatch.setattr(checks, "find_mpi", nowhere)
    (finding,) = checks.mpi()
    assert "no mpirun on the PATH" in finding.text
    assert finding.cure


@pytest.mark.parametrize(
    ("library", "right"), [("Open MPI v5.0.11, x", True), ("Open MPI v4.1.4, x", False)]
)
def test_mpi4py_must_load_the_library_of_mpirun(library, right):
    assert (checks.mpi4py_finding("4.1.2", library, MPI).cure is None) is right


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "this machine only"),
        (
            {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "4(x2)"},
            "n1 (4), n2 (4)",
        ),
    ],
)
def test_hosts(environ, text):
    cores, hosts = checks.machine(environ)
    assert cores.topic == "Cores"
    assert text in hosts.text


def test_hosts_of_a_batch_systems_file(tmp_path):
    (tmp_path / "nodes").write_text("localhost\nlocalhost\n127.0.0.1\n")
    _, hosts = checks.machine({"PBS_NODEFILE": str(tmp_path / "nodes")})
    assert hosts.text == "localhost (2), 127.0.0.1 (1)"


def test_hosts_that_cannot_be_read_have_a_cure():
    _, hosts = checks.machine({"PBS_NODEFILE": "/no/such/file"})
    assert "-H" in (hosts.cure or "")


def test_trials_name_what_failed_and_its_cure(monkeypatch):
    monkeypatch.setattr(doctor, "check_installed", lambda: None)
    kinds = [
        ("MPI", lambda: Trial("no answer within 120 s", 120.0)),
        ("Gloo", lambda: Trial(None, 3.0, ("gloo",))),
    ]
    bad, good = doctor.trials(kinds)
    assert "2 processes over MPI: no answer within 120 s" in bad.text
    assert bad.cure == "hfdt install-horovod --rebuild"
    assert good == CheckResult(
        "Allreduce", "2 processes over Gloo: right, 3 s (Horovod has gloo)"
    )


def test_nothing_is_tried_without_a_horovod_that_fits(monkeypatch):
    monkeypatch.setattr(doctor, "check_installed", lambda: "not there")
    assert list(doctor.trials([("MPI", lambda: pytest.fail("tried"))])) == []


def test_versions_of_this_installation():
    python, *_ = checks.versions({})
    assert str(Path(python.text.partition("(")[2].rstrip(")"))).endswith(
        ("python", "python3", "python3.10", "python3.11", "python3.12", "python3.13")
    )
