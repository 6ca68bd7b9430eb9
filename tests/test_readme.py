"""What the README shows is so: commands, their output, options, files, differences.

Blocks of ``console`` are run and compared line by line, numbers apart; ``...`` stands
for lines left out. Blocks of ``sh`` are not run, but what they name must be there.
"""

import difflib
import re
import sys
from pathlib import Path

import pytest

import hfdt
import nfdt.cli.command
from fdtcore import option_tables
from nfdt.clusters import cluster_yaml
from tests.processes import run

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
# What a command of the README is on a machine where nothing is on the PATH.
PROGRAMS = {
    "hfdt": (sys.executable, "-m", "hfdt.cli"),
    "nfdt": (sys.executable, "-m", "nfdt.cli"),
    "python": (sys.executable,),
}


def blocks(language, text=TEXT):
    """Returns the contents of the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def plain(line):
    """Returns a line without what differs between two runs."""
    line = re.sub(r"[hn]fdt-logs\S*|\S*/rank-\w+\.log", "LOG", line)
    line = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", line)
    return " ".join(line.replace("#ms", "#s").split())


def output(command, folder):
    """Runs a command of the README, for few epochs; returns its output and errors."""
    (folder / "examples").symlink_to(ROOT / "examples")
    name, *words = command.split()
    if words[-1].startswith("examples/"):
        words += ["--epochs", "3"]
    done = run(*PROGRAMS[name], *words, folder=folder, lean=False)
    return done.stdout + done.stderr


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("console"), ids=lambda b: b.split("\n")[0])
def test_commands_print_what_the_readme_shows(block, tmp_path, request):
    first, *shown = block.splitlines()
    command = first.removeprefix("$ ")
    if command == "make demo":
        _, done = request.getfixturevalue("demo")
        text = done.stdout + done.stderr
    else:
        text = output(command, tmp_path)
    said = {plain(line) for line in text.splitlines()}
    missing = [line for line in shown if plain(line) not in said and line != "..."]
    assert not missing, text


def test_numbers_are_all_that_is_not_compared():
    assert plain("22/22 - 3s - 9ms/step - loss: 0.03") == plain(
        "22/22 - 4s - 30ms/step - loss: 1.2e-05"
    )
    assert plain("hfdt: a of rank 1") != plain("hfdt: b of rank 1")


def test_blocks_are_found():
    assert len(blocks("console")) == 5
    assert len(blocks("sh")) == 4
    assert len(blocks("yaml")) == 1
    assert all(block.startswith("$ ") for block in blocks("console"))


def test_clusters_can_be_simulated():
    for text in blocks("yaml"):
        assert cluster_yaml.parse(text).num_workers == 8


def test_commands_that_simulate_are_understood():
    words = [line.split() for line in "\n".join(blocks("sh")).splitlines()]
    commands = [w[1] for w in words if w[:1] == ["nfdt"]]
    assert commands == ["simulate", "report", "compare", "calibrate"]
    for _, command, *options in [w for w in words if w[:1] == ["nfdt"]]:
        nfdt.cli.command.main.commands[command].make_context(command, options)


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


# From a question of a newcomer to the words of the map's row, and the definition there.
QUESTIONS = {
    "rule of an algorithm": "class DelayCompensation",
    "who waits": "class StaleSynchronous",
    "leave the worker": "def _push",
    "worker dies": "def lose",
    "--consistency": "class Options",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_map_leads_to_the_code_in_two_steps(question):
    """The README's row links to a file that defines the name in the row."""
    (table,) = re.findall(r"^\| question \| file \|\n(.*?)\n\n", TEXT, re.M | re.S)
    (row,) = [line for line in table.splitlines() if question in line.split("|")[1]]
    links = re.findall(r"\]\(([^)]+\.py)\)", row)
    definition = QUESTIONS[question]
    assert f"`{definition.split()[1]}`" in row
    assert any(definition in (ROOT / link).read_text() for link in links), row


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_make_targets_that_are_named_are_there(page):
    targets = set(re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("options", [hfdt.Options, nfdt.Options])
def test_tables_of_options_are_those_of_the_code(options):
    assert option_tables.replaced(TEXT, options) == TEXT, "make options"


def test_the_page_of_options_is_that_of_the_code():
    page = option_tables.page([hfdt.Options, nfdt.Options])
    assert (ROOT / "docs" / "options.md").read_text() == page, "make options"


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
