"""What a paper says, and what it takes to put it to the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.papers.averages import Case
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import RULE, Statement

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        name: Of its module and its files.
        title: One line.
        text: What is claimed, by whom, and where: the docstring of its module.
        settings: What was run, and how that departs from the paper.
        runs: The runs, in order; those of the quick form, where True is given.
        case: From a run to what it is compared within.
        judge: From the results of complete cases to the claim's statements.
        tables: From these results to Markdown.
        draw: Draws them.
        rule: How statements follow from results, and the verdict from statements.
    """

    name: str
    title: str
    text: str
    settings: str
    runs: Callable[[bool], Sequence[Run]]
    case: Case
    judge: Callable[[Results], Sequence[Statement]]
    tables: Callable[[Results], str]
    draw: Callable[[Figure, Results], None]
    rule: str = RULE

    @property
    def paragraph(self) -> str:
        """The paragraph of the docstring that says what is claimed."""
        (found,) = (p for p in self.text.split("\n\n") if p.startswith("Claim: "))
        return found.removeprefix("Claim: ")
