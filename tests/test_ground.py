"""What stands under the code: make targets, requirements and their pins."""

import configparser
import importlib
import importlib.metadata
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
# An outer make (this may run under `make test`) hands down its own settings.
ENVIRON = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=ENVIRON | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def requirements(section: str, option: str) -> list[Requirement]:
    lines = SETUP[section][option].splitlines()
    return [Requirement(text) for text in lines if text and text[0] != "#"]


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(text) for text in lines if text and not text.startswith("#")]
    here = [pin for pin in found if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): pin for pin in here}


def test_make_alone_lists_every_target():
    listed = re.findall(r"^make ([\w-]+) +\S", make().stdout, re.MULTILINE)
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())


@pytest.mark.parametrize("target", ["demo", "test"])
def test_one_command_does_everything_in_order(target, tmp_path):
    plan = make("-n", target, f"VENV={tmp_path / 'venv'}").stdout
    steps = [
        "-m venv",
        "pip install",
        "install-horovod",
        {"demo": "demo.py"}.get(target, "-m pytest"),
    ]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)
    assert "constraints.txt" in plan


def test_nothing_is_done_twice(tmp_path):
    for name in (".installed-tensorflow", ".horovod-tensorflow"):
        (tmp_path / name).touch()
    plan = make("-n", "test", f"VENV={tmp_path}").stdout
    assert [line for line in plan.splitlines() if "-m pytest" not in line] == []


def test_choosing_another_tensorflow_installs_again(tmp_path):
    for name in (".installed-tensorflow", ".horovod-tensorflow"):
        (tmp_path / name).touch()
    plan = make("-n", "test", f"VENV={tmp_path}", "TENSORFLOW=gpu").stdout
    assert "[hfdt,nfdt,gpu,examples,dev]" in plan
    assert "install-horovod" in plan


def programs(folder: Path, **scripts: str) -> Path:
    """Makes a PATH with only these programs, and the few the script needs."""
    folder.mkdir()
    for name in ("sh", "tail"):
        (folder / name).symlink_to(f"/bin/{name}" if name == "sh" else "/usr/bin/tail")
    for name, text in scripts.items():
        path = folder / name.replace("cxx", "c++")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("scripts", "wanted"),
    [
        ({}, "no 'python3' on the PATH"),
        ({"python3": 'case "$2" in *exit*) exit 1;; *) echo 3.9.1;; esac'}, "is 3.9.1"),
        ({"python3": 'case "$2" in *ensurepip*) exit 1;; esac'}, "python3-venv"),
        ({"python3": "exit 0"}, "no c++, g++ or clang++"),
        ({"python3": "exit 0", "cxx": "exit 1"}, "does not compile C++17"),
        ({"python3": "exit 0", "cxx": "exit 0"}, None),
    ],
)
def test_what_is_missing_is_one_clear_line(tmp_path, scripts, wanted):
    path = programs(tmp_path / "bin", **scripts)
    environ = {"PATH": str(path)}
    done = subprocess.run(
        [ROOT / "scripts/preflight.sh", "python3"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if wanted is None:
        assert done.stdout == ""
    else:
        assert wanted in done.stdout
        assert done.stdout.count("\n") == 1
        assert "Received: " in done.stdout


def test_make_stops_at_what_is_missing(tmp_path):
    done = make("test", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")
    assert done.returncode == 2
    assert "no 'no-such-python' on the PATH" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_continuous_integration_runs_every_check_then_the_tests(tmp_path):
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().splitlines()[-1] == "exec make check"
    for name in (".installed-tensorflow", ".horovod-tensorflow"):
        (tmp_path / name).touch()
    plan = make("-n", "check", f"VENV={tmp_path}").stdout.splitlines()
    found = [line.partition('PATH" ')[2] or line for line in plan]
    *checks, tests, packages, smoke = found
    assert checks == ["ruff check .", "ruff format --check .", "lint-imports", "mypy"]
    assert tests.startswith("python -m pytest -n")
    assert packages == "scripts/host_packages.sh"
    assert smoke.startswith('python -m pytest -m "cluster and smoke"')


def test_hooks_run_what_continuous_integration_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for repo in hooks for hook in repo["hooks"]]
    assert entries == ["make lint", "make type", "make quick"]
    text = (ROOT / "Makefile").read_text()
    for entry in entries:
        assert f"\n{entry.removeprefix('make ')}:" in text


def test_neither_tensorflow_nor_horovod_is_forced_on_anybody():
    names = [need.name for need in requirements("options", "install_requires")]
    assert "horovod" not in (ROOT / "constraints.txt").read_text()
    for extra in ("hfdt", "nfdt"):
        needs = requirements("options.extras_require", extra)
        names += [need.name for need in needs]
    assert not {"horovod", "tensorflow", "tensorflow-cpu"} & set(names)


def test_every_requirement_is_pinned_within_its_range():
    needs = requirements("options", "install_requires")
    for extra in SETUP["options.extras_require"]:
        needs += requirements("options.extras_require", extra)
    for need in needs:
        (pin,) = pins()[canonicalize_name(need.name)].specifier
        assert pin.operator == "=="
        assert need.specifier.contains(pin.version), need


def test_everything_that_gets_installed_is_pinned():
    extras = ("hfdt", "nfdt", "tensorflow", "examples", "dev")
    waiting = requirements("options", "install_requires")
    for extra in extras:
        waiting += requirements("options.extras_require", extra)
    seen: set[str] = set()
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        if name in seen:
            continue
        seen.add(name)
        assert name in pins(), f"constraints.txt must pin {name}"
        try:
            told = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an environment without this extra
        wanted = [Requirement(text) for text in told]
        waiting += [
            w for w in wanted if not w.marker or w.marker.evaluate({"extra": ""})
        ]
    assert len(seen) > 40


def test_commands_of_the_entry_points_are_there():
    lines = SETUP["options.entry_points"]["console_scripts"].split("\n")[1:]
    assert [line.split()[0] for line in lines] == ["hfdt", "nfdt"]
    for line in lines:
        module, _, function = line.partition("=")[2].strip().partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_every_marker_is_declared():
    declared = re.findall(r"^(\w+):", SETUP["tool:pytest"]["markers"], re.MULTILINE)
    used = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        used |= set(re.findall(r"pytest\.mark\.(\w+)", path.read_text()))
    assert used - {"parametrize", "skipif", "xfail", "usefixtures"} <= set(declared)
