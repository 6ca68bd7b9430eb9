"""Who trains to measure a step, and the command lines; nothing is started here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.launches import ROOT, SCRIPTS, Launch, share_of_cores
from benchmarks.steps.works import StepWork

BEFORE = "-before"  # the end of the name of ours at another commit


@dataclass(frozen=True)
class Place:
    """What command lines depend on besides the work.

    Args:
        python: The interpreter to train with.
        cores: Cores that this process may use.
        ranks: Processes that compute at once.
        before: Folder with the frameworks of another commit, None where there is none.
    """

    python: str
    cores: int
    ranks: int
    before: Path | None = None


@dataclass(frozen=True)
class StepContender:
    """One way to train.

    Args:
        title: How tables and pictures name it.
        launches: From the work and the place to the processes to start.
        is_one: Whether it is one process, however many there may be.
        is_ours: Whether it runs code of this project.
        is_asynchronous: Whether each process's step is an update of its own.
    """

    title: str
    launches: Callable[[StepWork, Place], tuple[Launch, ...]]
    is_one: bool = False
    is_ours: bool = False
    is_asynchronous: bool = False

    def ranks(self, place: Place) -> int:
        """Return how many processes of it compute."""
        return 1 if self.is_one else place.ranks

    def updates(self, work: StepWork, place: Place) -> int:
        """Return how many updates all fits of a work make, in one model."""
        steps = sum(fit.batches * fit.epochs for fit in work.fits)
        return steps * (place.ranks if self.is_asynchronous else 1)


def _script(name: str, work: StepWork, ranks: int = 1) -> tuple[str, ...]:
    """Return the command line of a script whose data is for so many ranks."""
    options = ("--model", work.model, "--batch", str(work.batch), "--data", work.data)
    fits = ("--ranks", str(ranks), "--fits", *map(str, work.fits))
    return (str(SCRIPTS / name), *options, *fits)


def _copies(work: StepWork, place: Place) -> tuple[Launch, ...]:
    script = (*_script("slope.py", work), "--tail", str(work.tail))
    environ = share_of_cores(place.cores, place.ranks)
    return (Launch((place.python, *script), environ),) * place.ranks


def _alone(work: StepWork, place: Place) -> tuple[Launch, ...]:
    return (Launch((place.python, *_script("slope.py", work))),)


def _hand(work: StepWork, place: Place) -> tuple[Launch, ...]:
    # As free as the ranks of ours are: no core is set, and the threads share them.
    options = ("-np", str(place.ranks), "--bind-to", "none", "--oversubscribe")
    script = _script("slope_by_hand.py", work)
    environ = share_of_cores(place.cores, place.ranks)
    return (Launch(("mpirun", *options, place.python, *script), environ),)


def _run(
    framework: str, *options: str, one: bool = False
) -> Callable[[StepWork, Place], tuple[Launch, ...]]:
    def launches(work: StepWork, place: Place) -> tuple[Launch, ...]:
        ranks = 1 if one else place.ranks
        run = (place.python, "-m", f"{framework}.cli", "run", "-np", str(ranks))
        return (Launch((*run, *options, *_script("slope.py", work, ranks))),)

    return launches


def _before(
    ours: Callable[[StepWork, Place], tuple[Launch, ...]],
) -> Callable[[StepWork, Place], tuple[Launch, ...]]:
    def launches(work: StepWork, place: Place) -> tuple[Launch, ...]:
        # The scripts are this commit's, from the second folder.
        environ = {"PYTHONPATH": f"{place.before}:{ROOT}"}
        return tuple(Launch(one.argv, environ) for one in ours(work, place))

    return launches


_HFDT = _run("hfdt", "--batch", "per-worker")
_ONE = _run("hfdt", "--batch", "per-worker", one=True)
_OURS = {
    "hfdt": ("HFDT", _HFDT),
    "nfdt-asgd": ("NFDT asgd", _run("nfdt", "--algorithm", "asgd")),
    "nfdt": ("NFDT as it comes", _run("nfdt")),
}

CONTENDERS: Mapping[str, StepContender] = {
    "copies": StepContender("copies of plain Keras", _copies),
    "alone": StepContender("plain Keras, one process", _alone, is_one=True),
    "hand": StepContender("by hand, one grouped allreduce", _hand),
    "hfdt-one": StepContender("HFDT, one process", _ONE, is_one=True, is_ours=True),
    **{
        f"{name}{end}": StepContender(
            f"{title}{', before' if end else ''}",
            _before(launches) if end else launches,
            is_ours=True,
            is_asynchronous=name.startswith("nfdt"),
        )
        for end in ("", BEFORE)
        for name, (title, launches) in _OURS.items()
    },
}
