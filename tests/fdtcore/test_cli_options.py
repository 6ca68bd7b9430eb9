"""What the options of ``run`` make of a command's words."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fdtcore.launcher.cli_options import run_options
from fdtcore.launcher.request import Request


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Calls a command that has them, and an option of its own; returns what it got."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("pass\n")
    got = []

    @click.command(context_settings={"allow_interspersed_args": False})
    @run_options("xfdt", ["mpirun", "carrier-pigeon"], "workers")
    @click.option("--own")
    def run(request, **choices):
        """Runs."""
        got.append((request, choices))

    def of(*words):
        result = CliRunner().invoke(run, words)
        return (*got.pop(), result) if got else (None, None, result)

    return of


def test_every_option_is_in_the_request(call):
    words = ("-np", "3", "-m", "-H", "a:2,b:1", "--launcher", "carrier-pigeon")
    words += ("-x", "A", "-x", "B", "--output", "logs", "--verbose", "--debug")
    words += ("--on", "dask=tcp://a:1", "--slots-timeout", "5s", "--dry-run")
    words += ("--restarts", "4", "--min-np", "2", "--max-np", "5")
    words += ("--hosts-from", "machines.sh", "--start-timeout", "1h", "--warm-spares")
    words += ("mod", "-np", "7", "-m")
    request, choices, _ = call(*words)
    assert request == Request(
        size=3,
        module=True,
        hosts="a:2,b:1",
        hostfile=None,
        launcher="carrier-pigeon",
        on="dask=tcp://a:1",
        slots_timeout="5s",
        dry_run=True,
        restarts=4,
        min_size=2,
        max_size=5,
        hosts_from="machines.sh",
        start_timeout="1h",
        warm_spares=True,
        forward=("A", "B"),
        directory=Path("logs"),
        verbose=True,
        debug=True,
        script="mod",
        args=("-np", "7", "-m"),
    )
    assert choices == {"own": None}
    assert call("--hostfile", "hosts", "train.py")[0].hostfile == "hosts"


def test_only_the_script_must_be_given(call):
    request, _, _ = call("train.py")
    assert request == Request(
        size=None,
        module=False,
        hosts=None,
        hostfile=None,
        launcher="auto",
        on=None,
        slots_timeout=None,
        dry_run=False,
        restarts=None,
        min_size=None,
        max_size=None,
        hosts_from=None,
        start_timeout=None,
        warm_spares=False,
        forward=(),
        directory=None,
        verbose=False,
        debug=False,
        script="train.py",
        args=(),
    )
    assert "Missing argument 'SCRIPT'" in call()[2].output


def test_an_option_of_the_commands_own_comes_beside(call):
    assert call("--own", "x", "train.py")[1] == {"own": "x"}


def test_a_job_that_keeps_its_size_has_fewer_options():
    @click.command()
    @run_options("xfdt", ["mpirun"], resizes=False)
    def run(request):
        """Runs."""

    text = CliRunner().invoke(run, ["--help"]).output
    assert "--restarts N" in text and "[default: 0]" in text
    assert text.index("--restarts") < text.index("--start-timeout")
    for word in ("--min-np", "--max-np", "--hosts-from", "--warm-spares"):
        assert word not in text


def test_help_speaks_of_the_program_and_shows_its_own_options_last(call):
    text = call("--help")[2].output
    for words in ("Number of workers.", "xfdt-logs/DATE-TIME-PID", "XFDT's own frames"):
        assert words in text
    assert text.index("-np") < text.index("--debug") < text.index("--own")
    assert "[auto|mpirun|carrier-pigeon]" in text


def test_the_command_of_a_rank(call):
    request, _, _ = call("train.py", "--epochs", "3")
    command = (sys.executable, "-m", "xfdt", "train.py", "--epochs", "3")
    assert request.command("xfdt") == command
    request, _, _ = call("-m", "json.tool", "x")
    assert request.command("xfdt")[3:] == ("-m", "json.tool", "x")


@pytest.mark.parametrize("words", [("none.py",), ("-m", "no_such_package")])
def test_a_program_that_is_not_there_is_refused(call, words):
    with pytest.raises(ValueError, match=f"Received: .*{words[-1]}"):
        call(*words)[0].command("xfdt")
