"""The command that measures this machine: ``nfdt calibrate``."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from fdtcore import settings
from fdtcore.launcher.cli_options import program_options
from fdtcore.launcher.request import checked_program
from nfdt import algorithms
from nfdt.cli.terminal import TERMINAL

_EXAMPLES = """
\b
Examples:
  nfdt calibrate train.py                      one worker with the whole machine
  nfdt calibrate --workers 2 train.py --lr 1   two that share it; --lr is train.py's
  nfdt calibrate --output mine.yaml train.py   ... then: nfdt simulate --cluster ...

SCRIPT runs as under nfdt run, for 50 steps of each worker or half a minute, and is
then stopped. No file that it writes is kept. The cluster has as many workers as were
measured; nfdt simulate --workers changes their number.
"""
_NO_NETWORK = (
    "One machine has no network: give separate machines the links that they have."
)


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog=_EXAMPLES,
    short_help="Measure this machine for nfdt simulate.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Workers that compute at once, and share this machine.",
)
@click.option(
    "--algorithm",
    metavar="NAME",
    default=algorithms.DEFAULT,
    show_default=True,
    help="Algorithm whose updates are timed: see nfdt algorithms.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("cluster.yaml"),
    show_default=True,
    help="The file to write.",
)
@program_options()
def calibrate(
    *,
    workers: int,
    algorithm: str,
    output: Path,
    module: bool,
    script: str,
    args: tuple[str, ...],
) -> None:
    """Measure the times of SCRIPT's steps, exchanges and updates on this machine."""
    from nfdt.clusters import cluster_text
    from nfdt.planning import calibration, measurement

    say = TERMINAL.say
    try:
        algorithms.find(algorithm)
        _check_output(output)
        words = checked_program(script, args, module=module)
        say(f"{shlex.join(words)} runs for 50 steps of each worker, or half a minute")
        with tempfile.TemporaryDirectory(prefix="nfdt-calibrate-") as folder:
            found = measurement.measure(words, workers, algorithm, Path(folder), say)
    except ValueError as error:
        TERMINAL.fail(str(error))
    facts = calibration.facts(*found, workers)
    cluster = calibration.calibrated(*found, workers, f"{workers} on {platform.node()}")
    comments = [*_circumstances(words, algorithm), *facts, _NO_NETWORK]
    output.write_text(cluster_text.written(cluster, comments), encoding="utf-8")
    for line in facts:
        say(line)
    click.echo(output)


def _circumstances(words: Sequence[str], algorithm: str) -> list[str]:
    """Returns lines for the head of the file: when and where, and of what."""
    cores = f"the {settings.available_cores()} cores of {platform.node()}"
    return [
        f"Measured by nfdt calibrate on {datetime.date.today()}, on {cores}:",
        f"{shlex.join(words)}, with {algorithm}.",
    ]


def _check_output(output: Path) -> None:
    """Refuses now what could not be written after the measurement.

    Raises:
        ValueError: The file is there, or its folder is not.
    """
    if output.exists():
        raise ValueError(
            f"the file must not exist yet. Received: --output {output}. Name "
            "another one, or remove it."
        )
    if not (output.parent.is_dir() and os.access(output.parent, os.W_OK)):
        raise ValueError(
            f"the file's folder must exist and be writable. Received: --output "
            f"{output}. Name another one."
        )
