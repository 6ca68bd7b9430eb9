"""The commands of a simulated cluster: ``nfdt simulate`` and ``nfdt compare``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fdtcore.launcher.cli_options import option_flags, program_options
from fdtcore.launcher.request import checked_program
from nfdt.cli.terminal import TERMINAL
from nfdt.options import Options, real_runs_only
from nfdt.simulation import launch as simulating

_SIMULATE_EXAMPLES = """
\b
Examples:
  nfdt simulate --cluster examples/clusters/straggler.yaml train.py --epochs 3
  nfdt simulate --cluster even.yaml --workers 64 --trace runs/64 train.py
                                             ... then: nfdt report runs/64
  nfdt simulate --cluster even.yaml --algorithm asgd --consistency ssp:3 train.py

Gradients are real, time is virtual: one process plays all workers, with the server
code of a real run. A short file describes the cluster; nfdt calibrate writes one of
this machine. Equal seeds give equal results. Everything after the script belongs to it.
"""
_COMPARE_EXAMPLES = """
\b
Examples:
  nfdt compare --cluster examples/clusters/straggler.yaml train.py
  nfdt compare --cluster even.yaml --workers 16 --target 0.4 train.py --epochs 2
  nfdt compare --cluster grid.yaml --pair asgd/ssp:3 --pair ddc-asgd/asp train.py

Simulates SCRIPT once for each pair of an algorithm and a consistency model, and for
hfdt (every worker waits, gradients are reduced in a ring). Prints a table, draws a
picture, and recommends one of them.
"""
_SETTINGS = {"allow_interspersed_args": False}


def _on_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what both commands are told."""
    options = (
        click.option(
            "--cluster",
            metavar="FILE",
            required=True,
            type=click.Path(path_type=Path),
            help="Cluster file; examples are in examples/clusters.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Number of workers, in the file's proportion of kinds.",
        ),
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Of all chance."
        ),
        program_options(),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _environ(cluster: Path, workers: int | None, seed: int) -> dict[str, str]:
    found = os.environ | {
        simulating.CLUSTER: str(cluster.absolute()),
        simulating.SEED: str(seed),
    }
    if workers is not None:
        found[simulating.WORKERS] = str(workers)
    return found


def _words(script: str, args: tuple[str, ...], *, module: bool) -> list[str]:
    program = checked_program(script, args, module=module)
    return [sys.executable, "-m", "nfdt", *program]


@click.command(
    context_settings=_SETTINGS,
    epilog=_SIMULATE_EXAMPLES,
    short_help="Run a script on a simulated cluster.",
)
@option_flags(Options, without=real_runs_only())
@_on_a_cluster
def simulate(
    *,
    cluster: Path,
    workers: int | None,
    seed: int,
    module: bool,
    script: str,
    args: tuple[str, ...],
    **choices: Any,
) -> None:
    """Train with SCRIPT as the workers of a cluster would, in virtual time."""
    try:
        environ = _environ(cluster, workers, seed) | Options.to_variables(choices)
        simulating.check_environ(environ)
        words = _words(script, args, module=module)
    except ValueError as error:
        TERMINAL.fail(str(error))
    sys.stdout.flush()
    os.execve(sys.executable, words, environ)


@click.command(
    context_settings=_SETTINGS,
    epilog=_COMPARE_EXAMPLES,
    short_help="Recommend an algorithm and a consistency model.",
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="ALGORITHM/FORM",
    help="Pair to compare; may be given several times. [default: a selection]",
)
@click.option("--target", type=float, help="Loss to reach. [default: from the runs]")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("nfdt-compare"),
    show_default=True,
    help="Folder for traces, table and picture.",
)
@_on_a_cluster
def compare(
    *,
    pairs: tuple[str, ...],
    target: float | None,
    output: Path,
    cluster: Path,
    workers: int | None,
    seed: int,
    module: bool,
    script: str,
    args: tuple[str, ...],
) -> None:
    """Simulate SCRIPT in several ways, and recommend one."""
    from nfdt.planning import comparison

    environ = _environ(cluster, workers, seed)
    try:
        words = _words(script, args, module=module)
        found = comparison.compare(words, environ, pairs, target, output)
    except ValueError as error:
        TERMINAL.fail(str(error))
    click.echo(found)
