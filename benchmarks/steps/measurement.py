"""Runs the contenders of works in interleaved rounds."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import click

from benchmarks.launches import order
from benchmarks.running import ContenderError, in_turn, output_of
from benchmarks.steps import beside, slopes
from benchmarks.steps.contenders import CONTENDERS
from benchmarks.steps.settings import StepSettings
from benchmarks.steps.slopes import Step
from benchmarks.steps.works import StepWork


class WorkSteps(NamedTuple):
    """What was found of one work."""

    work: StepWork
    rounds: list[dict[str, Step]]  # a contender that failed is absent


def measure(settings: StepSettings, name: str) -> WorkSteps:
    """Measure one work, and say on stderr how far it is.

    Args:
        settings: What to run.
        name: Of the work.
    """
    work = settings.work(name)
    names = settings.names(name)
    rounds = []
    for index in range(settings.rounds):
        click.echo(f"{name}, round {index + 1}/{settings.rounds}", err=True)
        rounds.append(
            in_turn(
                order(names, index), lambda one: run(settings, work, one), shown_step
            )
        )
    return WorkSteps(work, rounds)


def run(settings: StepSettings, work: StepWork, name: str) -> Step:
    """Run a contender once.

    Raises:
        ContenderError: It failed, printed no times, or did other than it should.
    """
    contender, place = CONTENDERS[name], settings.place
    output = output_of(contender.launches(work, place), settings.timeout_s)
    try:
        found = slopes.mean(slopes.read(output))
    except ValueError as error:
        raise ContenderError(str(error)) from error
    wanted = str(settings.tree(name)) if contender.is_ours else ""
    if found.code != wanted:
        raise ContenderError(f"it ran the code of {found.code}, not of {wanted}")
    updates = contender.updates(work, place)
    # What the others have pushed last, a worker need not know yet.
    if not updates - place.ranks <= found.updates <= updates:
        raise ContenderError(f"it made {found.updates} updates, not {updates}")
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
