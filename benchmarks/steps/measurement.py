"""Runs the contenders of works in interleaved rounds."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import click

from benchmarks.launches import ROOT, order
from benchmarks.running import ContenderError, in_turn, output_of
from benchmarks.steps import beside, slopes, targets
from benchmarks.steps.contenders import BEFORE, CONTENDERS, Place
from benchmarks.steps.slopes import Step
from benchmarks.steps.works import WORKS, StepWork


@dataclass(frozen=True)
class StepSettings:
    """What to run.

    Args:
        works: Names of the works.
        rounds: How often each contender runs.
        quick: Only a few steps and one round: shows that everything runs.
        processes: That compute at once.
        before: The code of another commit, None to leave it out.
        timeout_s: Limit for one run of one contender.
    """

    works: tuple[str, ...]
    rounds: int
    quick: bool
    processes: int = 2
    before: beside.Beside | None = None
    timeout_s: float = 900

    def work(self, name: str) -> StepWork:
        """Return the work as these settings want it."""
        return WORKS[name].shortened() if self.quick else WORKS[name]

    def names(self, work: StepWork) -> list[str]:
        """Return the contenders of a work to run."""
        is_out = self.before is None
        return [n for n in work.contenders if not (is_out and n.endswith(BEFORE))]

    @property
    def place(self) -> Place:
        """What command lines depend on besides the work."""
        packages = self.before and self.before.packages
        cores = len(os.sched_getaffinity(0))
        return Place(sys.executable, cores, self.processes, packages)


class WorkSteps(NamedTuple):
    """What was found of one work."""

    work: StepWork
    rounds: list[targets.StepRound]
    is_complete: bool  # every contender ran in every round


def measure(settings: StepSettings, name: str) -> WorkSteps:
    """Measure one work, and say on stderr how far it is.

    Args:
        settings: What to run.
        name: Of the work.
    """
    work = settings.work(name)
    names = settings.names(work)
    rounds: list[targets.StepRound] = []
    for index in range(settings.rounds):
        click.echo(f"{name}, round {index + 1}/{settings.rounds}", err=True)
        rounds.append(
            in_turn(
                order(names, index), lambda one: run(settings, work, one), shown_step
            )
        )
    return WorkSteps(work, rounds, all(len(one) == len(names) for one in rounds))


def run(settings: StepSettings, work: StepWork, name: str) -> Step:
    """Run a contender once.

    Raises:
        ContenderError: It failed, printed no times, or ran other code than it should.
    """
    contender, place = CONTENDERS[name], settings.place
    output = output_of(contender.launches(work, place), settings.timeout_s)
    try:
        found = slopes.mean(slopes.read(output))
    except ValueError as error:
        raise ContenderError(str(error)) from error
    wanted = ""
    if contender.is_ours:
        is_before = name.endswith(BEFORE) and settings.before
        wanted = str((settings.before.tree if is_before else ROOT).resolve())
    if found.code != wanted:
        raise ContenderError(f"it ran the code of {found.code}, not of {wanted}")
    return found


def shown_step(step: Step) -> str:
    """Return a step in words."""
    return f"{step.step_ms:8.2f} ms a step, {step.page_faults:7.0f} page faults"


@contextlib.contextmanager
def code_of(commit: str) -> Iterator[beside.Beside | None]:
    """Keep the code of a commit; say so where that cannot be, and go on without it.

    Args:
        commit: Its name, or "none".
    """
    with contextlib.ExitStack() as stack:
        found = None
        if commit != "none":
            try:
                found = stack.enter_context(beside.kept(commit))
            except beside.NoCommit as error:
                click.echo(f"rows of {commit} are left out: {error}", err=True)
        yield found
