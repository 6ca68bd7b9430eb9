"""``python -m benchmarks hosts``: jobs on two and three hosts beside one."""

from pathlib import Path

import click

from benchmarks.benchmark import facts
from benchmarks.hosts import report, targets
from benchmarks.hosts.jobs import JOBS, LARGE_JOBS, MAX_HOSTS, PAYLOADS
from benchmarks.hosts.measurement import HostRound, measure_round
from benchmarks.options import measuring
from benchmarks.steps.report import merge
from tests.cluster.hosts import Hosts, missing

_TIMEOUT_S = 600  # of one run of one job


@click.command()
@measuring(rounds=3)
@click.option(
    "--payload",
    type=click.Choice(tuple(PAYLOADS)),
    default="small",
    show_default=True,
    help="How much is exchanged; the large one by the jobs on three hosts alone.",
)
@click.option(
    "--job",
    "chosen",
    type=click.Choice(tuple(JOBS)),
    multiple=True,
    help="May be repeated. Default: all.",
)
def hosts(
    quick: bool, rounds: int, payload: str, chosen: tuple[str, ...], output: Path
) -> None:
    """Measure jobs on hosts with links of 1 Gbit/s and 100 Mbit/s.

    The hosts are namespaces of this machine, as root on Linux: they share its cores,
    and have links of their own.
    """
    if lacking := missing():
        raise click.ClickException(lacking)
    known, trained = facts(), PAYLOADS[payload]
    names = chosen or (LARGE_JOBS if payload == "large" else tuple(JOBS))
    output.mkdir(parents=True, exist_ok=True)
    path = output / ("quick-hosts.json" if quick else "hosts.json")
    found: list[HostRound] = []
    with Hosts(MAX_HOSTS) as up:
        for index in range(1 if quick else rounds):
            found.append(measure_round(up, trained, names, index, _TIMEOUT_S))
            rows = targets.rows(found)
            # After each round: a long run may be interrupted.
            merge(path, {payload: {**known, **report.as_json(found, rows, trained)}})
    click.echo(f"\n{report.job_table(found, trained)}\n")
    click.echo(report.target_table(rows) if rows else "Nothing to compare.")
    click.echo(f"Written: {path}")
    if any(set(one.jobs) != set(names) for one in found):
        raise click.ClickException("some jobs failed; their last lines are above")
