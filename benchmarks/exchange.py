"""Measures the exchange of gradients and parameters, and the server's update."""

import dataclasses
import json
import os
import re
import sys

import click

from benchmarks import server_update
from benchmarks.costs import EXCHANGE, PARAMETERS, Measured
from benchmarks.launches import Launch, environment
from benchmarks.running import output_of
from fdtcore import settings
from fdtcore.launcher.launchers import Job, OpenMpi
from fdtcore.launcher.mpirun import find_mpirun, identify

JSON_LINE = re.compile(r'\{"exchange": .*\}')
UPDATING = "exchange and update"
_TIMEOUT_S = 900


def measure(rounds: int, *, quick: bool) -> list[Measured]:
    """Measure all numbers of parameters, and say so on stderr.

    Args:
        rounds: How often each thing and its reference take turns.
        quick: Small numbers of parameters only.

    Raises:
        ContenderError: The job failed.
        ValueError: There is no mpirun.
    """
    sizes = PARAMETERS[:2] if quick else PARAMETERS
    click.echo(f"exchange of {len(sizes)} payloads, {rounds} rounds", err=True)
    found = read(output_of([launch(sizes, rounds)], _TIMEOUT_S))
    for size in sizes:
        click.echo(f"update of {size} parameters, {rounds} rounds", err=True)
        found += server_update.measure(size, rounds, steps(size))
    return found


def steps(size: int) -> int:
    """Return how many exchanges of so many parameters make one median."""
    return min(100, max(5, 50_000_000 // size))


def launch(sizes: tuple[int, ...], rounds: int) -> Launch:
    """Return what starts one worker and one server, as ``nfdt run`` would.

    Raises:
        ValueError: There is no mpirun.
    """
    path = environment(os.environ, sys.executable, os.getuid())["PATH"]
    mpirun = find_mpirun(sys.executable, path)
    if mpirun is None:
        raise ValueError("an exchange needs mpirun. Received: none. Put it on PATH.")
    launcher = identify(mpirun)
    if isinstance(launcher, OpenMpi) and launcher.major >= 5:
        launcher = dataclasses.replace(launcher, survives_loss=True)
    options = {
        "--rounds": [rounds],
        "--parameters": sizes,
        "--steps": [steps(size) for size in sizes],
    }
    words = [str(w) for name, numbers in options.items() for w in (name, *numbers)]
    command = (sys.executable, "-m", "benchmarks.contenders.exchange", *words)
    return Launch(tuple(launcher.argv(Job(command, size=2))), settings.waiting())


def read(output: str) -> list[Measured]:
    """Return what the job printed.

    Args:
        output: Of both processes; one line is that of the measurement.

    Raises:
        ValueError: It is not there.
    """
    lines = JSON_LINE.findall(output)
    if not lines:
        raise ValueError("the exchange must print its times. Received: none.")
    found = []
    for one in json.loads(lines[-1])["exchange"]:
        plain_s = tuple(one["plain"])
        for name, key in ((EXCHANGE, "exchange"), (UPDATING, "updating")):
            times_s = tuple(one[key])
            found.append(Measured(name, one["parameters"], times_s, plain_s))
    return found
