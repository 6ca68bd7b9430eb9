"""The choice of an engine: ``--on NAME`` or ``--on NAME=WHERE``."""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import sys
from typing import ClassVar

from fdtcore.launcher.engines.gang_job import ENGINES, GangSpec
from fdtcore.launcher.launchers import Job, Launcher

_SUBMITTING = ("slurm", "kubernetes")
NAMES = (*ENGINES, *_SUBMITTING)
SLOTS_TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Choice:
    """An engine that a user has named.

    Args:
        name: Of `NAMES`.
        where: Address of its cluster, or what else it is to be told; empty for that of
            its own configuration.
    """

    name: str
    where: str = ""

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Reads ``NAME`` or ``NAME=WHERE``.

        Raises:
            ValueError: No engine has that name.
        """
        name, _, where = text.partition("=")
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            way_out = f"Did you mean {near[0]}?" if near else "Write --on dask."
            raise ValueError(
                f"--on must be one of {', '.join(NAMES)}, with =WHERE behind it where "
                f"its cluster has to be named. Received: {text}. {way_out}"
            )
        return cls(name, where.strip())

    @property
    def submits(self) -> bool:
        """Whether it takes a job as a text, and runs it some time."""
        return self.name in _SUBMITTING


@dataclasses.dataclass(frozen=True)
class GangLauncher:
    """Starts the ranks in slots of an engine; see `Launcher`.

    Args:
        choice: Engine that the user has named.
        module: Of the framework: runs a `GangSpec`.
        program: Name of the framework's command.
        distributions: Whose versions must be the same on all machines.
        files: What ranks write into the folder of the job and the command reads.
        slots_timeout_s: How long to wait for slots.
        silence_s: After what time without a message a machine is lost.
    """

    choice: Choice
    module: str
    program: str
    distributions: tuple[str, ...]
    files: tuple[str, ...]
    slots_timeout_s: float
    silence_s: float
    adds_text: ClassVar[bool] = True
    logs_in: ClassVar[bool] = False
    chooses_hosts: ClassVar[bool] = True

    def argv(self, job: Job) -> list[str]:
        """Returns the command line that runs ``job``."""
        spec = GangSpec(
            engine=self.choice.name,
            where=self.choice.where,
            program=self.program,
            command=job.command,
            size=job.size,
            forward=job.forward,
            script=job.script,
            distributions=self.distributions,
            files=self.files,
            slots_timeout_s=self.slots_timeout_s,
            silence_s=self.silence_s,
        )
        return [sys.executable, "-m", self.module, spec.to_json()]


def dry_run(launcher: Launcher, job: Job) -> str:
    """Returns what would be started, as a text for the user."""
    if not isinstance(launcher, GangLauncher):
        return shlex.join(launcher.argv(job))
    where = launcher.choice.where or "where its own configuration says"
    lines = {
        "engine": f"{launcher.choice.name}, {where}",
        "slots": f"{job.size}, waited for {launcher.slots_timeout_s:g} s at most",
        "in each": shlex.join(job.command),
        "variables": ", ".join((*job.forward, "those of hosts over ssh")),
    }
    return "\n".join(f"{name:<10} {text}" for name, text in lines.items())
