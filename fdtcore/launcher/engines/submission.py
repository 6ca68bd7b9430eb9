"""The submission of a job to an engine that takes it as a text."""

from __future__ import annotations

import datetime
import math
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from fdtcore import output
from fdtcore.launcher.cli_options import Request
from fdtcore.launcher.engines import slurm
from fdtcore.launcher.engines.choice import Choice
from fdtcore.launcher.engines.slurm import BatchJob


def submit(
    choice: Choice,
    request: Request,
    program: str,
    size: int,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> int:
    """Submits a job, and waits for its end.

    Args:
        choice: Engine that the user has named.
        request: What the command was given.
        program: Name of the command.
        size: Number of processes.
        environ: The environment, with the framework's options.
        say: Writes one line of the command's own.

    Returns:
        The exit code.

    Raises:
        ValueError: The engine refuses the job.
    """
    usual = output.job_directory(
        Path(f"{program}-logs"), datetime.datetime.now(), os.getpid()
    )
    logs = (request.directory or usual).absolute()
    job = BatchJob(
        program,
        (*request.command_of_batch(program, logs),),
        size,
        tuple(shlex.split(choice.where)),
        Path.cwd(),
        logs,
    )
    if request.dry_run:
        click.echo(job.script(), nl=False)
        return 0
    waits = request.slots_timeout is not None
    pending_s = request.slots_timeout_s if waits else math.inf
    return slurm.run(job, environ, say, pending_s)
