"""An elastic job without TensorFlow: ``elastic_stub.py FOLDER LIMITS... PLAN...``.

Started again by mpirun, as a rank, it plays the next entry of the plan: ``kept`` writes
a snapshot first, ``STEP`` is where the position stands then, and the rest is how the
run ends: ``kill`` of its last rank, ``raise``, ``early`` (before any step), ``exit3``,
``end``, or ``wait`` for a request to end.
"""

import os
import signal
import sys
import time
from pathlib import Path

from fdtcore import output
from fdtcore.failures import Failure, write_record
from fdtcore.launcher import jobs
from fdtcore.launcher.discovery import Discovery
from fdtcore.launcher.elastic import ElasticJob, Kept, Limits
from fdtcore.launcher.foreground import Foreground
from fdtcore.launcher.launchers import Job
from fdtcore.process import Process
from fdtcore.snapshots import folder as snapshots
from fdtcore.snapshots import position
from fdtcore.snapshots.position import Position, PositionFile
from fdtcore.snapshots.stop_requests import STOPPED_CODE


def launch(folder: Path, numbers: list[str], plan: list[str]) -> int:
    size, restarts, least, most = map(int, numbers)

    def say(text: str) -> None:
        print(f"stub: {text}", file=sys.stderr, flush=True)

    program = folder / "machines.sh"
    discovery = Discovery(str(program), say, 0.2) if program.exists() else None
    place = jobs.NO_HOSTS
    if discovery is not None:
        place = jobs.JobHosts(discovery.ask(), False)

    def make(place, size):
        command = (sys.executable, __file__, "--rank", str(folder), *plan)
        job = Job(command, size, *place)
        return job, jobs.choose_launcher(job, "auto", os.environ)

    job = ElasticJob(
        Foreground("stub", say, stops_itself=True),
        place,
        size,
        Limits(restarts, least, most, 3.0),
        Kept(
            {"STUB_RESUME": "auto"},
            lambda: snapshots.newest(folder),
            None if "STUB_PLACELESS" in os.environ else lambda: position.read(folder),
        ),
        make,
        "",
        discovery,
    )
    return job.run(dict(os.environ), folder / "logs")


def play(folder: Path, plan: list[str]) -> None:
    process = Process.from_environ(os.environ)
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(STOPPED_CODE))
    logs = os.environ.get("STUB_JOB_DIR")
    if logs:
        output.redirect(process, Path(logs))
    run = len(list(folder.glob("run-*")))
    if logs:  # else there is but one rank, which has written them
        run = int(Path(logs).name.partition("restart-")[2] or 0)
    if process.rank == 0:
        (folder / f"run-{run}").write_text(str(process.size))
        print(f"run {run} of {process.size}: {os.environ.get('STUB_RESUME')}")
    words = plan[run].split(":")
    if process.rank == 0 and words[-1] != "early":
        PositionFile(folder).write(Position(1, 0, int(words[-2]), run))
        if "kept" in words:
            (folder / f"step-0001-{run + 1:08}.safetensors").touch()
    if process.rank == 0:
        (folder / f"ready-{run}").touch()
    while not (folder / f"ready-{run}").exists():
        time.sleep(0.01)
    last = process.rank == process.size - 1
    time.sleep(0.5)  # the launcher looks several times a second
    if words[-1] in ("raise", "early", "exit3") and last:
        if words[-1] == "exit3":
            sys.exit(3)
        try:
            raise ValueError("bad value")
        except ValueError as error:
            if logs:
                write_record(Path(logs), Failure.from_exception(process, error))
            raise
    if words[-1] == "kill" and last:
        os.kill(os.getpid(), signal.SIGKILL)
    if words[-1] != "end":
        time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1] == "--rank":
        play(Path(sys.argv[2]), sys.argv[3:])
    else:
        sys.exit(launch(Path(sys.argv[1]), sys.argv[2:6], sys.argv[6:]))
