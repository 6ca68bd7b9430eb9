"""The contenders, and the command lines that start them; nothing is started here."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.work import Work

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "benchmarks" / "contenders"
RANKS = 2


@dataclass(frozen=True)
class Machine:
    """What the command lines depend on besides the work.

    Args:
        python: The interpreter to train with.
        cores: Cores that this process may use.
        ports: Two free TCP ports for MultiWorkerMirroredStrategy's workers.
    """

    python: str
    cores: int
    ports: tuple[int, int]


@dataclass(frozen=True)
class Launch:
    """One process to start: its arguments and the variables it gets on top."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One way to train.

    Args:
        name: Word for it in files and on the command line.
        title: How tables and pictures name it.
        ranks: Processes that compute; the measured speed is divided by them.
        launches: From the work and the machine to the processes to start.
    """

    name: str
    title: str
    ranks: int
    launches: Callable[[Work, Machine], tuple[Launch, ...]]


def _script(name: str, work: Work, *, batch: int, **more: int) -> tuple[str, ...]:
    sizes = {"batch": batch, "steps": work.steps, "epochs": work.epochs} | more
    options = [word for key, n in sizes.items() for word in (f"--{key}", str(n))]
    return (str(SCRIPTS / name), "--model", work.model, *options)


def _slowed(work: Work, rank: int) -> dict[str, int]:
    """Return the options that slow one rank of a script down, where a work does."""
    if work.slowdown == 1:
        return {}
    return {"slowdown": work.slowdown, "slow-rank": rank}


def _hfdt(ranks: int) -> Callable[[Work, Machine], tuple[Launch, ...]]:
    def launches(work: Work, machine: Machine) -> tuple[Launch, ...]:
        batch = work.batch_per_rank * ranks  # a rank takes its part of each
        script = _script("fit.py", work, batch=batch, **_slowed(work, ranks - 1))
        run = (machine.python, "-m", "hfdt.cli", "run", "-np", str(ranks))
        return (Launch((*run, *script)),)

    return launches


def _nfdt(*options: str) -> Callable[[Work, Machine], tuple[Launch, ...]]:
    def launches(work: Work, machine: Machine) -> tuple[Launch, ...]:
        # A worker takes whole batches, so an epoch of as many images has more of them.
        sizes = {"steps": work.steps * RANKS} | _slowed(work, RANKS - 1)
        script = _script("fit.py", work, batch=work.batch_per_rank, **sizes)
        run = (machine.python, "-m", "nfdt.cli", "run", *options, "-np", str(RANKS))
        return (Launch((*run, *script)),)

    return launches


def _alone(work: Work, machine: Machine) -> tuple[Launch, ...]:
    script = _script("fit.py", work, batch=work.batch_per_rank)
    return (Launch((machine.python, *script)),)


def _copies(work: Work, machine: Machine) -> tuple[Launch, ...]:
    # Untimed last epochs keep each copy's core busy until the other has been timed;
    # the threads are those that HFDT's ranks get, so neither crowds the other.
    tail = 1 + (work.slowdown - 1) * work.epochs
    fit = functools.partial(_script, "fit.py", work, batch=work.batch_per_rank)
    last = _slowed(work, rank=0) or {"tail": tail}  # a slowed copy is the last to end
    scripts = [*[fit(tail=tail)] * (RANKS - 1), fit(**last)]
    environ = share_of_cores(machine.cores, RANKS)
    return tuple(Launch((machine.python, *script), environ) for script in scripts)


def share_of_cores(cores: int, ranks: int) -> dict[str, str]:
    """Return the variables that give a process its part of the cores, at least one."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return dict.fromkeys(names, str(max(1, cores // ranks)))


def _by_hand(*launcher: str) -> Callable[[Work, Machine], tuple[Launch, ...]]:
    def launches(work: Work, machine: Machine) -> tuple[Launch, ...]:
        script = _script("hand.py", work, batch=work.batch_per_rank)
        return (Launch((*launcher, "-np", str(RANKS), machine.python, *script)),)

    return launches


def _pss(work: Work, machine: Machine) -> tuple[Launch, ...]:
    script = _script("pss.py", work, batch=work.batch_per_rank)
    return (Launch((machine.python, *script)),)


def _mirrored(work: Work, machine: Machine) -> tuple[Launch, ...]:
    script = _script("mirrored.py", work, batch=work.batch_per_rank)
    workers = ", ".join(f'"127.0.0.1:{port}"' for port in machine.ports)
    return tuple(
        Launch(
            (machine.python, *script),
            {
                "TF_CONFIG": f'{{"cluster": {{"worker": [{workers}]}}, '
                f'"task": {{"type": "worker", "index": {index}}}}}'
            },
        )
        for index in range(RANKS)
    )


CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("hfdt", "hfdt run -np 2", RANKS, _hfdt(RANKS)),
        Contender("hfdt-one", "hfdt run -np 1", 1, _hfdt(1)),
        Contender("copies", "two copies, no communication", RANKS, _copies),
        Contender("alone", "plain fit, one process", 1, _alone),
        Contender("mpirun", "by hand, mpirun", RANKS, _by_hand("mpirun")),
        Contender(
            "gloo", "by hand, horovodrun", RANKS, _by_hand("horovodrun", "--gloo")
        ),
        Contender("mirrored", "MultiWorkerMirrored", RANKS, _mirrored),
        Contender("nfdt", "nfdt run -np 2", RANKS, _nfdt()),
        Contender(
            "nfdt-overlap", "nfdt run --overlap -np 2", RANKS, _nfdt("--overlap")
        ),
        Contender("pss", "ParameterServerStrategy", RANKS, _pss),
    )
}


def environment(
    environ: Mapping[str, str], python: str, user_id: int
) -> dict[str, str]:
    """Return the variables that every contender gets.

    Args:
        environ: The caller's own.
        python: The interpreter; its folder's mpirun serves where there is no other.
        user_id: 0 (root) must tell Open MPI that it means it.
    """
    extended = dict(environ)
    paths = [environ.get("PATH", os.defpath), str(Path(python).parent)]
    extended["PATH"] = os.pathsep.join(paths)
    modules = [str(ROOT), environ.get("PYTHONPATH", "")]
    extended["PYTHONPATH"] = os.pathsep.join(filter(None, modules))
    if user_id == 0:
        extended["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        extended["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return extended


def order(names: Sequence[str], round_index: int) -> list[str]:
    """Return who runs when: every second round backwards, so that drift cancels."""
    return list(names) if round_index % 2 == 0 else list(reversed(names))
