"""``python -m benchmarks``: HFDT beside its alternatives; ``... profile``: its step."""

import tempfile
from pathlib import Path

import click

from benchmarks import report, timeline
from benchmarks.benchmark import REFERENCES, Settings, benchmark
from benchmarks.launches import CONTENDERS, ROOT
from benchmarks.running import ContenderError, run
from benchmarks.work import WORKS


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="One round of a few steps: a smoke test.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--only",
    type=click.Choice(REFERENCES),
    multiple=True,
    help="Compare HFDT with this one only; may be repeated.",
)
@click.option(
    "--work", type=click.Choice(tuple(WORKS)), multiple=True, help="Default: both."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "benchmarks" / "results",
    help="Folder for speed.json and speed.png.  [default: benchmarks/results]",
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
    """Compare HFDT's speed with its alternatives, side by side on this machine."""
    if context.invoked_subcommand is not None:
        return
    settings = Settings(
        1 if quick else rounds, quick, work or tuple(WORKS), only or REFERENCES
    )
    if not benchmark(settings, output):
        raise click.ClickException("some contenders failed; their last lines are above")


@main.command()
@click.option(
    "--work", type=click.Choice(tuple(WORKS)), default="cnn", show_default=True
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
