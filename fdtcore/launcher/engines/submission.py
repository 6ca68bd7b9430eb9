"""The submission of a job to an engine that takes it as a text."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from fdtcore import output
from fdtcore.launcher.engines import slurm
from fdtcore.launcher.engines.choice import Choice
from fdtcore.launcher.engines.slurm import BatchJob
from fdtcore.launcher.request import Request


@dataclasses.dataclass(frozen=True)
class Submission:
    """A job that an engine takes as a text.

    Args:
        program: Name of the framework's command.
        request: What the command was given.
        size: Number of processes.
        options: The framework's options, as the variables that it reads.
        rank_module: Module of the framework that runs one rank without MPI; empty where
            it has none.
    """

    program: str
    request: Request
    size: int
    options: Mapping[str, str]
    rank_module: str = ""

    def submit(
        self, choice: Choice, environ: Mapping[str, str], say: Callable[[str], None]
    ) -> int:
        """Submits the job and waits for its end, or shows what would be submitted.

        Args:
            choice: Engine that the user has named.
            environ: The environment of the command, with the framework's options.
            say: Writes one line of the command's own.

        Returns:
            The exit code.

        Raises:
            ValueError: The engine refuses the job.
        """
        if choice.name == "kubernetes":
            click.echo(self._manifest(choice.where), nl=False)
            return 0
        job = self._batch_job(choice.where)
        if self.request.dry_run:
            click.echo(job.script(), nl=False)
            return 0
        waits = self.request.slots_timeout is not None
        pending_s = self.request.slots_timeout_s if waits else math.inf
        return slurm.run(job, environ, say, pending_s)

    def _batch_job(self, where: str) -> BatchJob:
        usual = output.job_directory(
            Path(f"{self.program}-logs"), datetime.datetime.now(), os.getpid()
        )
        logs = (self.request.directory or usual).absolute()
        return BatchJob(
            self.program,
            self.request.command_of_batch(self.program, logs),
            self.size,
            tuple(shlex.split(where)),
            Path.cwd(),
            logs,
        )

    def _manifest(self, where: str) -> str:
        if not self.request.dry_run:
            raise ValueError(
                "--on kubernetes prints a manifest, and starts nothing. Received: no "
                "--dry-run. Write it, and pipe the text to: kubectl apply -f -."
            )
        # They write YAML, which the others do without.
        from fdtcore.launcher.engines import pod_words
        from fdtcore.launcher.engines.kubernetes import manifest
        from fdtcore.launcher.engines.pod_job import PodJob, job_name

        request = self.request
        words = pod_words.parse(where)
        module = ("-m",) if request.module else ()
        logs = request.directory
        job = PodJob(
            name=words.name or job_name(Path(request.script).stem),
            image=words.image,
            program=self.program,
            command=(*module, request.script, *request.args),
            size=self.size,
            np=request.size or self.size,
            slots=words.slots,
            variables=self.options,
            forward=request.forward,
            resources=words.resources,
            volume=words.volume,
            output="" if logs is None else str(logs),
            rank_module=self.rank_module,
        )
        return manifest(words.kind, job)
