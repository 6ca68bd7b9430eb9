"""`hfdt doctor`: what is installed, whether it works, and a cure for what does not."""

from collections.abc import Callable, Iterable, Iterator

from hfdt.install import checks, trial
from hfdt.install.checks import CheckResult
from hfdt.install.compilation import Report
from hfdt.install.install import check_installed

_TRIALS: tuple[tuple[str, Callable[[], trial.Trial]], ...] = (
    ("MPI", trial.over_mpi),
    ("Gloo", trial.over_gloo),
)


def trials(
    kinds: Iterable[tuple[str, Callable[[], trial.Trial]]] = _TRIALS,
) -> Iterator[CheckResult]:
    """Tries an allreduce between two real processes, over MPI and over Gloo."""
    if check_installed():
        return  # said already, and nothing can run
    for name, attempt in kinds:
        done = attempt()
        what = f"{trial.SIZE} processes over {name}"
        if done.problem:
            cure = "hfdt install-horovod --rebuild"
            yield CheckResult("Allreduce", f"{what}: {done.problem}", cure)
        else:
            built = ", ".join(done.built)
            text = f"{what}: right, {done.seconds:.0f} s (Horovod has {built})"
            yield CheckResult("Allreduce", text)


_CHECKS = (
    checks.versions,
    checks.horovod,
    checks.mpi,
    checks.mpi4py,
    checks.machine,
    trials,
)


def doctor(report: Report = print) -> int:
    """Examines the installation and tries it, on this machine.

    Args:
        report: receives one line of text at a time.

    Returns:
        Exit code: 0 if nothing is wrong, else 1.
    """
    wrong = 0
    for check in _CHECKS:
        for finding in check():
            report(f"{finding.topic:<11} {finding.text}")
            if finding.cure:
                wrong += 1
                report(f"{'':<11} WRONG. Cure: {finding.cure}")
    report("Nothing is wrong." if not wrong else f"{wrong} wrong: the cures are above.")
    return int(wrong > 0)
