"""DSP with its monitor against SSP, while speeds change.

Claim: Zhang, Tu et al., "Dynamic Synchronous Parallel", Sensors 2017, 17(10):2172:
while speeds change, DSP (w = 1, s set by the monitor) keeps its accuracy as processes
are added; that of SSP with s = 2, 3, 4 falls. DSP takes slightly longer than SSP.

    python -m benchmarks.papers.dsp_changing [--quick]
"""

from __future__ import annotations

from benchmarks.papers import dsp_page as page
from benchmarks.papers.averages import chosen, each, mean
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import CHANGING
from benchmarks.papers.command import command
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import Statement, compare, state

DSP = "dsp:s=3,w=1"
SSPS = ("ssp:2", "ssp:3", "ssp:4")
PAPER_SSPS = tuple(page.paper_ssp(stale) for stale in (2, 3, 4))
SETTINGS = f"""\
{page.SETTINGS} One half of the workers is three times slower for 30 % of the time, the
other half later for as long. Accuracy *falls* by what the fewest workers have more than
the most."""


def runs(quick: bool) -> list[Run]:
    """Returns all runs, seed by seed."""
    return page.runs(CHANGING, (*SSPS, *PAPER_SSPS, DSP), quick)


def judge(results: Results) -> list[Statement]:
    """Compares with each SSP how far DSP falls, where it ends, and its time."""
    cases = page.cases(results)
    statements = []
    for whose, ssps in (("SSP", SSPS), ("the paper's SSP", PAPER_SSPS)):
        falls = [_fall(results, ssp) for ssp in ssps]
        steadier = [compare(fall, _fall(results, DSP)) for fall in falls]
        above = [order for ssp in ssps for order in page.accuracies(cases, DSP, ssp)]
        longer = [order for ssp in ssps for order in page.times(cases, DSP, ssp)]
        statements += [
            state(f"accuracy of {whose} falls more than DSP's", steadier),
            state(f"accuracy DSP > {whose}", above),
            state(f"time DSP >= {whose}", longer, or_equal=True),
        ]
    return statements


def _fall(results: Results, consistency: str) -> float:
    """Returns how far accuracy falls from the fewest workers to the most."""
    found = chosen(results, consistency=consistency)
    counts = each(found, "workers")
    return mean(found, workers=counts[0]) - mean(found, workers=counts[-1])


CLAIM = Claim(
    "dsp_changing",
    "DSP with its monitor against SSP, while speeds change",
    __doc__,
    SETTINGS,
    runs,
    page.whole,
    judge,
    page.tables,
    page.draw,
)
main = command([CLAIM], CLAIM.title)

if __name__ == "__main__":
    main()
