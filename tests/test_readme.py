"""What the README shows is so: commands, their output, options, files, differences.

Blocks of ``console`` are run and compared line by line, numbers apart; ``...`` stands
for lines left out. Blocks of ``sh`` are not run, but what they name must be there.
"""

import dataclasses
import difflib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hfdt import cli
from hfdt.options import Options

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
TIME_LIMIT_S = 300
# What a command of the README is on a machine where nothing is on the PATH.
PROGRAMS = {
    "make demo": f"{sys.executable} examples/demo.py",
    "hfdt": f"{sys.executable} -m hfdt.cli",
    "python": sys.executable,
}


def blocks(language, text=TEXT):
    """Returns the contents of the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def plain(line):
    """Returns a line without what differs between two runs."""
    line = re.sub(r"hfdt-logs\S*|\S*/rank-\d+\.log", "LOG", line)
    line = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", line)
    return " ".join(line.replace("#ms", "#s").split())


def run(command, folder):
    """Runs a command of the README; returns its output and errors in one."""
    (folder / "examples").symlink_to(ROOT / "examples")
    for name, program in PROGRAMS.items():
        if command == name or command.startswith(f"{name} "):
            command = program + command.removeprefix(name)
            break
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.Popen(
        command.split(),
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return child.communicate(timeout=TIME_LIMIT_S)[0]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("console"), ids=lambda b: b.split("\n")[0])
def test_commands_print_what_the_readme_shows(block, tmp_path):
    first, *shown = block.splitlines()
    output = run(first.removeprefix("$ "), tmp_path)
    said = {plain(line) for line in output.splitlines()}
    missing = [line for line in shown if plain(line) not in said and line != "..."]
    assert not missing, output


def test_numbers_are_all_that_is_not_compared():
    assert plain("22/22 - 3s - 9ms/step - loss: 0.03") == plain(
        "22/22 - 4s - 30ms/step - loss: 1.2e-05"
    )
    assert plain("hfdt: a of rank 1") != plain("hfdt: b of rank 1")


def test_blocks_are_found():
    assert len(blocks("console")) == 3
    assert len(blocks("sh")) == 3
    assert all(block.startswith("$ ") for block in blocks("console"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_are_named_are_there(page):
    text = page.read_text()
    spoken = re.findall(r"`((?:\w[\w.-]*/)+[\w.-]*)`", text)
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    commanded = re.findall(r"(?:examples|tests)/\w+(?:/\w+)*\.py", text)
    ours = [name for name in spoken if (ROOT / name.partition("/")[0]).is_dir()]
    for name in [*ours, *commanded]:
        assert (ROOT / name).exists(), name
    for name in linked:
        assert (page.parent / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_make_targets_that_are_named_are_there(page):
    targets = set(re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


def test_table_of_options_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| `(\S+)` \|", TEXT, re.MULTILINE)
    defaults = {f.name: f.default for f in dataclasses.fields(Options)}
    assert [name for name, _, _ in rows] == list(defaults)
    flags = {flag for flag, _, _ in cli._CHOICES}
    for name, flag, default in rows:
        assert default.replace('"', "'") == repr(defaults[name])
        if flag != "none":
            flags.remove(flag.strip("`"))
    assert not flags


def test_difference_is_that_of_the_digits():
    texts = []
    for kind in ("single", "hfdt"):
        source = (ROOT / "examples" / f"digits_{kind}.py").read_text()
        texts.append(source.split('"""', 2)[2].splitlines())
    lines = [
        line
        for line in difflib.unified_diff(*texts, n=0)
        if not line.startswith(("---", "+++", "@@")) and line != "+"
    ]
    assert blocks("diff")[1].splitlines() == lines


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_in_pages_is_python(page):
    for block in blocks("python", page.read_text()):
        compile(block, page.name, "exec")
