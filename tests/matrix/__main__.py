"""Runs the whole matrix: every three values of three axes in at least one cell."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import time

from tests.matrix import jobs
from tests.matrix.axes import AXES, excluded, name_of, named, not_started
from tests.matrix.covering import covering


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument(
        "--strength", type=int, default=3, help="axes of a combination; default 3"
    )
    parser.add_argument("--only", default="", help="starts of a way, such as 'nfdt 2'")
    parser.add_argument("--report", type=pathlib.Path, help="JSON of what is wrong")
    parser.add_argument(
        "--cell",
        action="append",
        type=named,
        help="one cell by its name; in place of the table; may be repeated",
    )
    choices = parser.parse_args()
    cells = {str(index): row for index, row in enumerate(_rows(choices))}
    begun_s = time.monotonic()
    wrong = {}
    references: dict[str, jobs.Outcome] = {}
    for key, group in jobs.started_alike(cells):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            if not group.keys() <= references.keys():
                (folder / "plain").mkdir()
                references |= jobs.plain(jobs.alike(key, cells), folder / "plain")
            outcomes = jobs.started(key, group, folder)
        for index, cell in group.items():
            right = references[index]
            problems = [f"plain Keras: {right.error}"] if right.error else []
            if not problems:
                problems = jobs.problems(cell, outcomes[index], right.arrays[0])
            if problems:
                wrong[name_of(cell)] = problems
                print(f"WRONG {name_of(cell)}\n   ", "\n    ".join(problems))
        took_s = time.monotonic() - begun_s
        said = f"{' | '.join(key)}: {len(group)} cells, {len(wrong)} wrong so far"
        print(f"{said}, {took_s:.0f} s", flush=True)
    if choices.report:
        choices.report.write_text(json.dumps(wrong, indent=1))
    print(f"{len(cells) - len(wrong)} passed, {len(wrong)} failed")
    return bool(wrong)


def _rows(choices: argparse.Namespace) -> list[dict[str, str]]:
    if choices.cell:
        return choices.cell
    is_excluded = not_started if choices.strength < 3 else excluded
    rows = covering(AXES, choices.strength, is_excluded)
    return [row for row in rows if row["way"].startswith(choices.only)]


if __name__ == "__main__":
    sys.exit(main())
