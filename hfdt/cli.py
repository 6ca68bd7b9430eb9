"""The command line: ``hfdt run``, ``report``, ``install-horovod`` and ``doctor``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from fdtcore import output
from fdtcore.examination import safety
from fdtcore.failures import RECORD_NAME
from fdtcore.launcher import jobs
from fdtcore.launcher.cli_options import (
    machine_options,
    option_flags,
    program_options,
    run_options,
)
from fdtcore.launcher.elastic import ElasticJob, Kept
from fdtcore.launcher.engines.choice import Choice, GangLauncher, dry_run
from fdtcore.launcher.engines.submission import Submission
from fdtcore.launcher.foreground import Foreground
from fdtcore.launcher.launchers import Job, Launcher
from fdtcore.launcher.machines import MachineRequest
from fdtcore.launcher.report_command import report_command
from fdtcore.launcher.request import Request, checked_program
from fdtcore.launcher.spares import Spares
from fdtcore.launcher.terminal import Terminal
from fdtcore.snapshots import copies, folder, position
from fdtcore.telemetry.report_files import Report
from fdtcore.telemetry.trace_file import check_directory
from hfdt import __version__
from hfdt.gloo import Gloo
from hfdt.options import Options

_EXAMPLES = """
\b
Examples:
  hfdt run -np 4 train.py --epochs 3      four processes on this machine
  hfdt run -np 2 -m mypackage.train       a module, as python -m runs it
  hfdt run -H node1:4,node2:4 train.py    eight processes on two machines
  hfdt run -np 4 --batch per-worker train.py
  hfdt run -np 2 --trace runs/1 train.py     ... then: hfdt report runs/1
  hfdt run -np 4 --on dask=tcp://node1:8786 train.py
  hfdt run -np 8 --on 'slurm=--time=1:00:00' train.py
  sbatch --ntasks 8 --wrap "hfdt run train.py"
  hfdt run -np 4 --snapshot s --resume auto train.py    goes on where it was
  hfdt run -np 4 --restarts 3 train.py    goes on by itself when a rank is lost

Everything after the script belongs to the script. Progress bars, prints and files
come from rank 0; the output of each other rank goes to a file. The alternatives:
horovodrun, mpirun or srun with `python -m hfdt train.py`.

With --snapshot, SIGTERM, SIGUSR1 and the first Ctrl-C keep a snapshot at the next
step and end the job with exit code 75; a second Ctrl-C ends it at once.
"""
_EXAMINED = """
\b
Examples:
  hfdt doctor                          what is installed, and whether it works
  hfdt doctor train.py --epochs 3      whether this script is safe to distribute
  hfdt doctor -H node1,node2           what machines have, and the network between

Each fit ends after 12 batches, and the script after 3 fits or 12 steps of a
hand-written loop. Exit code 1: something has to be changed.
"""
_TERMINAL = Terminal("hfdt")
# Whose versions must be the same on all machines of a job.
DISTRIBUTIONS = ("tensorflow", "keras", "numpy", "horovod", "mpi4py")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hfdt")
def main() -> None:
    """Trains an unchanged Keras script on several processes."""
    output.open_standard()


@main.command(
    context_settings={"allow_interspersed_args": False},
    epilog=_EXAMPLES,
    short_help="Run a script on several processes.",
)
@run_options("hfdt", ["mpirun", "srun", "gloo"])
@option_flags(Options)
def run(request: Request, **choices: str | bool | None) -> None:
    """Run SCRIPT, a single-machine Keras script, on several processes."""
    try:
        given = Options.to_variables(
            choices, verbose=request.verbose, debug=request.debug
        )
        environ = os.environ | given
        options = Options.from_environ(environ)  # refuses what each rank would
        engine = request.engine()
        discovery = request.discovery(_TERMINAL.say)
        place = jobs.NO_HOSTS
        if discovery is not None:
            place = jobs.JobHosts(discovery.ask(), False)
        elif engine is None:
            place = jobs.choose_place(request.hosts, request.hostfile, environ)
        size = jobs.choose_size(request.size, place, environ, "hfdt")
        jobs.refuse_nesting(environ, "hfdt")
        if options.trace and engine is None and not request.dry_run:
            check_directory(options.trace)
        limits = request.limits(size) if request.is_elastic else None
        if engine is not None and engine.submits:
            submission = Submission("hfdt", request, size, given, "hfdt.pod_rank")
            raise SystemExit(submission.submit(engine, environ, _TERMINAL.say))
        command = request.command("hfdt")

        def make(place: jobs.JobHosts, size: int) -> tuple[Job, Launcher]:
            job = Job(
                command,
                size,
                *place,
                forward=request.variables(environ),
                script=request.path,
            )
            if engine is not None:
                return job, _in_slots(engine, request, options)
            return job, _choose_launcher(job, request.launcher, environ)

        job, program = make(place, size)
        if request.dry_run:
            click.echo(dry_run(program, job))
            return
        _require_horovod(size)
        if options.snapshots and job.is_local and engine is None:
            # In one line, before several processes start and find the same.
            has_copies = copies.are_there(options.snapshots)
            folder.opened(
                options.snapshots, options.resume, has_copies=has_copies
            ).close()
        foreground = Foreground(
            "hfdt",
            _TERMINAL.say,
            request.verbose,
            distributions=DISTRIBUTIONS,
            again=" with --resume auto" if options.snapshots else "",
            stops_itself=bool(options.snapshots or limits) and engine is None,
        )
        if limits is None:
            code = foreground.run(job, program, environ, request.directory)
        else:
            logs = foreground.folder(request.directory)
            kept = _kept(options, logs, environ)
            code = ElasticJob(
                foreground,
                place,
                size,
                limits,
                kept,
                make,
                request.path,
                discovery,
                Spares("hfdt.spare") if request.warm_spares else None,
            ).run(environ, logs)
    except ValueError as error:
        _TERMINAL.fail(str(error))
    raise SystemExit(code)


def _kept(options: Options, logs: Path, environ: dict[str, str]) -> Kept:
    """Returns what a run of an elastic job leaves: snapshots, in the job's own folder.

    Args:
        options: The user's options, which may name another folder.
        logs: The job's own folder.
        environ: The environment the ranks get; completed here.
    """
    path = os.path.abspath(options.snapshots or logs / "snapshots")
    environ["HFDT_SNAPSHOT"] = path
    if options.resume:
        environ["HFDT_RESUME"] = "auto" if options.resume == "auto" else path
    environ["HFDT_PROGRESS"] = str(logs)

    def newest() -> object:
        at = position.read(logs)
        return folder.newest(path), at and (at.fit, at.snapshot)

    return Kept(
        {"HFDT_RESUME": "auto"},
        newest,
        # The snapshots may be on a disk of another machine, and the logs as well.
        lambda: position.read(logs) or position.read(path),
    )


def _choose_launcher(job: Job, wanted: str, environ: Mapping[str, str]) -> Launcher:
    gloo = Gloo()
    if wanted == "gloo":
        gloo.argv(job)  # refuses what it cannot run
        return gloo
    return jobs.choose_launcher(job, wanted, environ, gloo)


def _in_slots(engine: Choice, request: Request, options: Options) -> Launcher:
    return GangLauncher(
        engine,
        "hfdt.gloo_gang",
        "hfdt",
        DISTRIBUTIONS,
        (RECORD_NAME,),
        request.slots_timeout_s,
        options.link_timeout,
    )


def _require_horovod(size: int) -> None:
    if size > 1:
        from hfdt.install.install import check_installed

        if problem := check_installed():
            _TERMINAL.fail(problem, 1)


def _drawn(directory: Path, output: Path | None) -> Report:
    from hfdt.telemetry import report

    return report.write(directory, output)


main.add_command(report_command(_TERMINAL, _drawn))


@main.command("install-horovod")
@click.option(
    "--rebuild", is_flag=True, help="Build again, even if one that fits is installed."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Number of parallel compilers."
)
def install_horovod(*, rebuild: bool, jobs: int | None) -> None:
    """Build and install Horovod for the TensorFlow and MPI that are here."""
    from hfdt.install.install import InstallError
    from hfdt.install.install import install_horovod as install

    try:
        install(rebuild=rebuild, jobs=jobs, report=click.echo)
    except InstallError as error:
        _TERMINAL.fail(str(error), 1)


@main.command(context_settings={"allow_interspersed_args": False}, epilog=_EXAMINED)
@machine_options()
@program_options(required=False)
def doctor(
    *,
    module: bool,
    script: str | None,
    args: tuple[str, ...],
    place: MachineRequest,
) -> None:
    """Check what is installed; with SCRIPT, whether it is safe to distribute.

    SCRIPT runs for some steps on one process and on two, in a copy of this folder, and
    each thing that differs is named: what, why, and what to write. With machines, what
    they have, and the network between them.
    """
    if place:
        raise SystemExit(place.examine("hfdt", DISTRIBUTIONS, _TERMINAL))
    if script is None:
        from hfdt.install.doctor import doctor as check

        raise SystemExit(check(report=click.echo))
    try:
        program = checked_program(script, args, module=module)
    except ValueError as error:
        _TERMINAL.fail(str(error))
    _require_horovod(2)
    command = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2")
    ways = [safety.Way("hfdt run -np 2", command, 2, is_exact=True)]
    raise SystemExit(safety.examine(program, "hfdt", ways, click.echo))


if __name__ == "__main__":
    main()
