"""The commands beside ``run``: ``nfdt report``, ``algorithms`` and ``doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fdtcore.examination import safety
from fdtcore.launcher.cli_options import machine_options, program_options
from fdtcore.launcher.machines import MachineRequest
from fdtcore.launcher.report_command import report_command
from fdtcore.launcher.request import checked_program
from fdtcore.telemetry.report_files import Report
from nfdt.cli.job_setup import DISTRIBUTIONS
from nfdt.cli.terminal import TERMINAL

_EXAMINED = """
\b
Examples:
  nfdt doctor train.py --epochs 3      whether this script is safe to distribute
  nfdt doctor -H node1,node2           what machines have, and the network between

Each fit ends after 12 batches, and the script after 3 fits or 12 steps of a
hand-written loop. One worker must give the numbers of plain Python; two train
together, and must end with equal weights. Exit code 1: something has to be changed.
"""


def _drawn(directory: Path, output: Path | None) -> Report:
    from nfdt.telemetry import report as reports

    return reports.write(directory, output)


report = report_command(TERMINAL, _drawn)


@click.command()
@click.argument("name", required=False)
def algorithms(*, name: str | None) -> None:
    """List the algorithms, or show the equations of the one called NAME."""
    from nfdt.cli import algorithm_table

    try:
        click.echo(algorithm_table.details(name) if name else algorithm_table.table())
    except ValueError as error:
        TERMINAL.fail(str(error))


@click.command(context_settings={"allow_interspersed_args": False}, epilog=_EXAMINED)
@machine_options()
@program_options(required=False)
def doctor(
    *,
    module: bool,
    script: str | None,
    args: tuple[str, ...],
    place: MachineRequest,
) -> None:
    """Check whether SCRIPT is safe to distribute, or what machines have.

    SCRIPT runs for some steps, in a copy of this folder, and each thing that differs is
    named: what, why, and what to write.
    """
    if place:
        raise SystemExit(place.examine("nfdt", DISTRIBUTIONS, TERMINAL))
    if script is None:
        TERMINAL.fail("a script, or machines (-H), must be named. Received: neither.")
    try:
        program = checked_program(script, args, module=module)
    except ValueError as error:
        TERMINAL.fail(str(error))
    command = (sys.executable, "-m", "nfdt.cli", "run", "-np")
    ways = [
        safety.Way("nfdt run -np 1", (*command, "1"), 1, is_exact=True),
        safety.Way("nfdt run -np 2", (*command, "2"), 2, is_exact=False),
    ]
    raise SystemExit(safety.examine(program, "nfdt", ways, click.echo))
