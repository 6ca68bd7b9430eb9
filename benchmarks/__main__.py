"""``python -m benchmarks``: HFDT and NFDT beside their alternatives.

``... profile`` shows one step of HFDT, ``... exchange`` one exchange of NFDT, and
``... truth`` how near its simulator comes to real runs; ``... steps`` measures what a
step costs, ``... hosts`` jobs on several machines, ``... wire`` what they gain from
sending less.
"""

import tempfile
from pathlib import Path

import click

from benchmarks import report, timeline, truth_report
from benchmarks import truth as truths
from benchmarks.benchmark import benchmark, facts
from benchmarks.hosts.command import hosts
from benchmarks.launches import CONTENDERS
from benchmarks.options import measuring
from benchmarks.running import ContenderError, run
from benchmarks.settings import REFERENCES, Settings
from benchmarks.steps.command import small_steps, steps
from benchmarks.wire import wire
from benchmarks.work import WORKS

EXCHANGE = "exchange"  # not a work, but chosen as one


@click.group(invoke_without_command=True)
@measuring(rounds=5)
@click.option(
    "--only",
    type=click.Choice(REFERENCES),
    multiple=True,
    help="Compare with this one only; may be repeated.",
)
@click.option(
    "--work",
    type=click.Choice((*WORKS, EXCHANGE)),
    multiple=True,
    help="May be repeated. Default: all; without the exchange where --only is given.",
)
@click.pass_context
def main(
    context: click.Context,
    quick: bool,
    rounds: int,
    only: tuple[str, ...],
    work: tuple[str, ...],
    output: Path,
) -> None:
    """Compare HFDT and NFDT with their alternatives, side by side on this machine."""
    if context.invoked_subcommand is not None:
        return
    chosen = work or (*WORKS, *([] if only else [EXCHANGE]))
    if not (work or only):
        _hold_to_truth(rounds, output, quick=quick)
        small_steps(rounds, output, quick=quick)
    _measure(
        Settings(
            1 if quick else rounds,
            quick,
            tuple(name for name in chosen if name in WORKS),
            only or REFERENCES,
            EXCHANGE in chosen,
        ),
        output,
    )


def _measure(settings: Settings, output: Path) -> None:
    if not benchmark(settings, output):
        raise click.ClickException("some contenders failed; their last lines are above")


main.add_command(steps)
main.add_command(hosts)
main.add_command(wire)


@main.command()
@measuring(rounds=5)
def exchange(quick: bool, rounds: int, output: Path) -> None:
    """Compare an exchange and an update with plain copies, from 0.1 to 25 M."""
    _measure(Settings(1 if quick else rounds, quick, (), (), exchange=True), output)


@main.command()
@measuring(rounds=5)
def truth(quick: bool, rounds: int, output: Path) -> None:
    """Compare the simulator's forecasts with real runs of 1, 2 and 3 workers."""
    _hold_to_truth(rounds, output, quick=quick)


def _hold_to_truth(rounds: int, output: Path, *, quick: bool) -> None:
    known, rounds = facts(), 1 if quick else rounds
    try:
        found = truths.check(rounds, quick=quick)
    except (ContenderError, ValueError) as error:
        raise click.ClickException(f"the truth check failed: {error}") from error
    click.echo(f"\n{truth_report.truth_table(found)}\n")
    output.mkdir(parents=True, exist_ok=True)
    path = output / ("quick-truth" if quick else "truth")
    truth_report.write_json(path.with_suffix(".json"), known, found)
    machine = f"{known['cores']} cores, {rounds} rounds"
    truth_report.draw(path.with_suffix(".png"), found, machine)
    if not quick:
        missed = "; ".join(truth_report.missed(found)) or "none"
        click.echo(f"Forecasts out of {truths.WITHIN:.0%}: {missed}")
    click.echo(f"Written: {path}.json, {path}.png")


@main.command()
@click.option(
    "--work", type=click.Choice(("cnn", "payload")), default="cnn", show_default=True
)
@click.option(
    "--contender",
    type=click.Choice(("hfdt", "mpirun", "gloo")),
    default="hfdt",
    show_default=True,
)
def profile(work: str, contender: str) -> None:
    """Show where the time of one step goes: compute, allreduce, waiting."""
    chosen = WORKS[work]
    with tempfile.TemporaryDirectory(prefix="hfdt-bench-") as folder:
        path = Path(folder, "timeline.json")
        extra = {"HOROVOD_TIMELINE": str(path)}
        try:
            run(CONTENDERS[contender], chosen, timeout_s=600, extra=extra)
            found = timeline.step_time(path.read_text())
            copies = run(CONTENDERS["copies"], chosen, timeout_s=600).images_per_s
        except (ContenderError, OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    parts = {
        "compute, update, input": found.compute_ms,
        "allreduce": found.allreduce_ms,
        "waiting for the other rank": found.waiting_ms,
        "one step": found.step_ms,
        "one step of two copies": 1e3 * chosen.batch_per_rank / copies,
    }
    cells = [
        [name, f"{ms:.2f}", f"{ms / found.step_ms:.0%}"] for name, ms in parts.items()
    ]
    click.echo(f"{CONTENDERS[contender].title}, {chosen.title}; {found.steps} steps\n")
    click.echo(report.table(["mean on rank 0", "ms", "of the step"], cells))


if __name__ == "__main__":
    main()
