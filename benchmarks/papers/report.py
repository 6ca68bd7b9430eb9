"""The result file of a claim: verdict, tables, picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.papers.averages import balanced
from benchmarks.papers.claim import Claim
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import Statement, Verdict, overall

ENOUGH_SEEDS = 3
QUICK = "The quick form: everything runs. It says nothing of the claim."


def write(claim: Claim, found: Results, folder: Path, quick: bool = False) -> Verdict:
    """Writes the Markdown and the picture of what has been found so far.

    Args:
        claim: The claim.
        found: The results of its runs; some may be missing.
        folder: Where to.
        quick: Whether these are the runs of the quick form.

    Returns:
        The verdict.
    """
    planned = claim.runs(quick)
    results = balanced(planned, found, claim.case)
    statements = list(claim.judge(results)) if results else []
    verdict = overall(statements)
    said = f"**The claim {verdict.value}**{_seeds(claim, planned, results)}."
    have = sum(run in found for run in planned)
    parts = [
        f"# {claim.title}",
        QUICK if quick else said,
        claim.paragraph,
        "\n".join(map(_item, statements)),
        f"Rule: {claim.rule}",
        "## What was run",
        claim.settings,
        f"{have} of {len(planned)} runs are done. `python -m benchmarks.papers."
        f"{claim.name}` does those that are missing and writes this page anew; every "
        f"single run is in [{claim.name}.jsonl]({claim.name}.jsonl).",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    if verdict is not Verdict.OPEN:
        picture = f"![{claim.title}]({claim.name}.png)"
        parts += ["## Results", claim.tables(results), picture]
        _draw(claim, results, folder / f"{claim.name}.png")
    (folder / f"{claim.name}.md").write_text("\n\n".join(filter(None, parts)) + "\n")
    return verdict


def _item(statement: Statement) -> str:
    return f"* {statement.text}: **{statement.verdict.value}** ({statement.reason})"


def _seeds(claim: Claim, planned: Sequence[Run], results: Results) -> str:
    """Says on how many seeds and cases a verdict rests."""
    if not results:
        return ""
    pairs = {(claim.case(run), run.seed) for run in results}
    counts = Counter(case for case, _ in pairs)
    fewest, most = min(counts.values()), max(counts.values())
    span = str(most) if fewest == most else f"{fewest} to {most}"
    all_cases = len({claim.case(run) for run in planned})
    where = "case" if len(counts) == all_cases else f"of {len(counts)} cases"
    text = f", on {span} {'seed' if most == 1 else 'seeds'} in each {where}"
    if len(counts) < all_cases:
        text += f" out of {all_cases}"
    return text if fewest >= ENOUGH_SEEDS else f"{text}: too few to be sure"


def _draw(claim: Claim, results: Results, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    figure = pyplot.figure(layout="constrained")
    claim.draw(figure, results)
    figure.suptitle(claim.title)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
