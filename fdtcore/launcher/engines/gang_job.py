"""One job in the slots of Spark, Ray or Dask: a small launcher, one for all engines.

It runs as a process of its own, as ``mpirun`` does, with a `GangSpec` as its only
argument; the framework says how its ranks find each other (`Wiring`). What engines
themselves say goes to ``engine.log`` in the folder of the job.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from fdtcore.failures import RECORD_NAME, Failure, try_record, write_record
from fdtcore.launcher import banners, preflight
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.engines import engine as engine_module
from fdtcore.launcher.engines.dask import Dask
from fdtcore.launcher.engines.engine import GangEngine
from fdtcore.launcher.engines.gang import Gang, Sink, Slot
from fdtcore.launcher.engines.ray import Ray
from fdtcore.launcher.engines.spark import Spark
from fdtcore.launcher.preflight import Machine, Requirements

ENGINES: dict[str, Callable[[str], GangEngine]] = {
    "spark": Spark,
    "ray": Ray,
    "dask": Dask,
}
_POLL_S = 0.5
_SAY_AFTER_S = 5.0  # a wait that is shorter needs no word
_PROBE_S = 30.0
_WORDS = (signal.SIGUSR1, signal.SIGUSR2)


@dataclasses.dataclass(frozen=True)
class GangSpec:
    """A job for an engine.

    Args:
        engine: Its name, of `ENGINES`.
        where: Its address; empty for that of its own configuration.
        program: Name of the framework's command.
        command: The rank program and its arguments.
        size: Number of processes.
        forward: Names of variables that they get.
        script: Path of the program that each machine must have; empty for none.
        distributions: Whose versions must be the same on all machines.
        files: What processes write into the folder of the job and this one reads.
        slots_timeout_s: How long to wait for slots.
        silence_s: After what time without a message a machine is lost.
    """

    engine: str
    where: str
    program: str
    command: tuple[str, ...]
    size: int
    forward: tuple[str, ...]
    script: str
    distributions: tuple[str, ...]
    files: tuple[str, ...]
    slots_timeout_s: float
    silence_s: float

    @classmethod
    def from_json(cls, text: str) -> GangSpec:
        """Reads what `to_json` wrote."""
        fields = json.loads(text)
        tuples = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
        return cls(**{**fields, **tuples})

    def to_json(self) -> str:
        """Returns the fields as text."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def prefix(self) -> str:
        """The beginning of the names of the framework's variables."""
        return f"{self.program.upper()}_"

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Returns the variables of the job's processes."""
        return {name: environ[name] for name in self.forward if name in environ}


@dataclasses.dataclass(frozen=True)
class GangJob:
    """A job whose slots are there.

    Args:
        spec: What is to run.
        gang: Where its slots are.
        slots: One for each process, those of a machine one after the other.
        machines: What each machine has said of itself.
        environ: Variables of the processes.
        folder: Where they work.
        problem: Returns why the engine has ended the slots; empty where it has not.
    """

    spec: GangSpec
    gang: Gang
    slots: Sequence[Slot]
    machines: Sequence[Machine]
    environ: Mapping[str, str]
    folder: str
    problem: Callable[[], str]


# Starts the processes, and returns the first that failed, or an exit code.
Wiring = Callable[[GangJob], Ended | int | None]


def main(text: str, wiring: Wiring) -> int:
    """Runs a job.

    Args:
        text: A `GangSpec`.
        wiring: Runs the processes so that they find each other.

    Returns:
        The exit code.
    """
    spec = GangSpec.from_json(text)
    logs = Path(os.environ[f"{spec.prefix}JOB_DIR"])
    with _engine_output_in(logs / "engine.log") as show:
        try:
            return _run(spec, logs, wiring, show)
        except ValueError as error:  # nothing has started
            try_record(logs, Failure.ended(0, spec.size, str(error)))
            return 2


def _run(spec: GangSpec, logs: Path, wiring: Wiring, show: Sink) -> int:
    def say(text: str) -> None:
        show(2, f"{spec.program}: {text}\n".encode())

    engine = ENGINES[spec.engine](spec.where)
    gang: Gang | None = None
    try:
        address = engine.connect()
        # After it: engines take signals over for themselves.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        _wait_for_slots(engine, spec, say)
        gang = Gang(address, spec.size, spec.silence_s, show)
        for number in _WORDS:
            signal.signal(number, functools.partial(_pass_on, gang))
        engine.start([engine_module.task(gang.place(n)) for n in range(spec.size)])
        slots = gang.gather(spec.slots_timeout_s, engine.problem)
        hosts = ", ".join(dict.fromkeys(slot.host for slot in slots))
        say(f"{spec.size} slots of {spec.engine} on {hosts}.")
        machines = _look_at_machines(gang, slots, spec, logs, say)
        environ = spec.environ(os.environ)
        job = GangJob(spec, gang, slots, machines, environ, os.getcwd(), engine.problem)
        ended = wiring(job)
        gang.end()
        _fetch(gang, slots, spec, logs)
    finally:
        if gang is not None:
            gang.end()
            gang.close()
        engine.close()
    if isinstance(ended, Ended):
        show(2, banners.compose(ended).encode())
        return ended.code
    return ended or 0


def _wait_for_slots(
    engine: GangEngine, spec: GangSpec, say: Callable[[str], None]
) -> None:
    began_s = time.monotonic()
    has_said = False
    while (found := engine.num_slots()) < spec.size:
        waited_s = time.monotonic() - began_s
        if waited_s > spec.slots_timeout_s:
            raise ValueError(
                f"{spec.engine} must have {spec.size} slots. Received: {found} within "
                f"{spec.slots_timeout_s:g} s. Lower -np, add machines, or wait longer: "
                "--slots-timeout."
            )
        if waited_s > _SAY_AFTER_S and not has_said:
            has_said = True
            say(f"{spec.engine} has {found} of {spec.size} slots; waiting.")
        time.sleep(_POLL_S)


def _look_at_machines(
    gang: Gang,
    slots: Sequence[Slot],
    spec: GangSpec,
    logs: Path,
    say: Callable[[str], None],
) -> list[Machine]:
    """Looks at each machine before anything starts, as before a job over ssh.

    Raises:
        ValueError: A machine cannot take part.
    """
    folder = os.getcwd()
    script = os.path.join(folder, spec.script) if spec.script else ""
    wanted = Requirements(spec.program, spec.distributions, folder, script, str(logs))
    firsts = list({slot.host: slot for slot in reversed(slots)}.values())[::-1]
    words = [sys.executable, "-", wanted.text()]
    source = preflight.probe_source()
    path = os.environ.get("PYTHONPATH", "")
    answers = gang.answers(
        firsts, ["env", f"PYTHONPATH={path}", *words], folder, _PROBE_S, source
    )
    machines = []
    for slot, (code, said) in zip(firsts, answers, strict=True):
        text = said.decode(errors="replace")
        answer = preflight.read_answer(text)
        problem = "" if answer else preflight.explain(slot.host, code, text)
        machines.append(Machine(slot.host, answer or {}, problem))
    if problems := preflight.problems(machines, wanted):
        for problem in problems[:-1]:
            say(problem)
        raise ValueError(problems[-1])
    return machines


def _fetch(gang: Gang, slots: Sequence[Slot], spec: GangSpec, logs: Path) -> None:
    """Brings what the processes have written to where there is no shared disk."""
    for name in spec.files:
        if (logs / name).exists():
            continue
        found = gang.answers(slots, ["cat", str(logs / name)], "/", _PROBE_S)
        said = next((text for code, text in found if code == 0), None)
        if said is None:
            continue
        with contextlib.suppress(ValueError, OSError):
            if name == RECORD_NAME:
                write_record(logs, Failure.from_json(json.loads(said)))
            else:
                (logs / name).write_bytes(said)


@contextlib.contextmanager
def _engine_output_in(path: Path) -> Iterator[Sink]:
    """Sends what libraries of engines write to a file; gives what writes past it."""

    def show(stream: int, piece: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody reads: go on
            while piece:
                piece = piece[os.write(real[stream], piece) :]

    real = {number: os.dup(number) for number in (1, 2)}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number in real:
        os.dup2(file, number)
    os.close(file)
    try:
        yield show
    finally:
        for number, descriptor in real.items():
            os.dup2(descriptor, number)
            os.close(descriptor)


def _pass_on(gang: Gang, number: int, frame: FrameType | None) -> None:
    del frame
    gang.signal(number)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)
