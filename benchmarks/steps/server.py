"""Measures a server's update by the default rule beside another commit's."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.costs import LARGEST, millions
from benchmarks.launches import SCRIPTS, Launch, order
from benchmarks.running import ContenderError, in_turn, output_of
from benchmarks.steps.settings import StepSettings
from benchmarks.steps.works import UPDATING

NAME, BEFORE = UPDATING
TITLES = {NAME: "server's update", BEFORE: "server's update, before"}
TITLE = f"server of {millions(LARGEST)} parameters, default rule"
JSON_LINE = re.compile(r'\{"update_ms": .*?\}')
_STEPS, _QUICK_STEPS = 20, 3  # of one run; the first update does not count


class Update(NamedTuple):
    """What one run gave."""

    update_ms: float
    memory_mib: float  # of the process, at most


def measure(settings: StepSettings) -> list[dict[str, Update]]:
    """Measure both in turn, and say on stderr how far it is.

    Args:
        settings: What to run.

    Returns:
        Rounds; without the other commit's where there is none.
    """
    names = settings.names(NAME)
    rounds = []
    for index in range(settings.rounds):
        click.echo(f"{NAME}, round {index + 1}/{settings.rounds}", err=True)
        found = in_turn(order(names, index), lambda one: run(settings, one), _shown)
        rounds.append(found)
    return rounds


def run(settings: StepSettings, name: str) -> Update:
    """Measure one of the two once.

    Raises:
        ContenderError: It failed, printed no times, or ran other code than it should.
    """
    tree = settings.tree(name)
    steps = _QUICK_STEPS if settings.quick else _STEPS
    sizes = ("--parameters", str(LARGEST), "--steps", str(steps))
    script = (settings.place.python, str(SCRIPTS / "server.py"), *sizes)
    launch = Launch(script, {"PYTHONPATH": str(tree)})
    return read(output_of([launch], settings.timeout_s), tree)


def read(output: str, tree: Path) -> Update:
    """Return what the output of a run states.

    Args:
        output: Its standard output.
        tree: Where its code should have been.

    Raises:
        ContenderError: There is nothing, or it was other code.
    """
    line = JSON_LINE.search(output)
    if line is None:
        raise ContenderError("no time of an update was printed")
    found = json.loads(line.group())
    if not Path(found["code"]).resolve().is_relative_to(tree):
        raise ContenderError(f"it ran {found['code']}, not the code of {tree}")
    return Update(found["update_ms"], found["memory_mib"])


def _shown(one: Update) -> str:
    return f"{one.update_ms:8.2f} ms an update, {one.memory_mib:.0f} MiB"
