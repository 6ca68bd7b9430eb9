"""DSP between BSP and SSP: in accuracy, and in time.

Claim: Zhang, Tu et al., "Dynamic Synchronous Parallel", Sensors 2017, 17(10):2172: with
more processes accuracy is BSP >= DSP > SSP, and SSP's falls; time is BSP > DSP >= SSP;
s = 3, w = 1, without the monitor.

    python -m benchmarks.papers.dsp [--quick]
"""

from __future__ import annotations

from benchmarks.papers import dsp_page as page
from benchmarks.papers.averages import chosen, each, mean
from benchmarks.papers.claim import Claim
from benchmarks.papers.clusters import EVEN
from benchmarks.papers.command import command
from benchmarks.papers.records import Results
from benchmarks.papers.runs import Run
from benchmarks.papers.verdicts import Statement, compare, state

BSP, SSP, DSP = "bsp", "ssp:3", "dsp:s=3,w=1,fixed"
PAPER_SSP = page.paper_ssp(3)
SETTINGS = f"{page.SETTINGS} All workers are alike (coefficient of variation 0.1)."


def runs(quick: bool) -> list[Run]:
    """Returns all runs, seed by seed."""
    return page.runs(EVEN, (BSP, SSP, PAPER_SSP, DSP), quick)


def judge(results: Results) -> list[Statement]:
    """Compares accuracy and time for each number of workers."""
    cases = page.cases(results)
    ssp = chosen(results, consistency=SSP)
    ends = [mean(ssp, workers=count) for count in each(ssp, "workers")]
    falls = [compare(ends[0], ends[-1])] if len(ends) > 1 else []
    return [
        state("accuracy BSP >= DSP", page.accuracies(cases, BSP, DSP), or_equal=True),
        state("accuracy DSP > SSP", page.accuracies(cases, DSP, SSP)),
        state(
            "accuracy DSP > SSP of the paper", page.accuracies(cases, DSP, PAPER_SSP)
        ),
        state("SSP's accuracy falls from the fewest workers to the most", falls),
        state("time BSP > DSP", page.times(cases, BSP, DSP)),
        state("time DSP >= SSP", page.times(cases, DSP, SSP), or_equal=True),
    ]


CLAIM = Claim(
    "dsp",
    "DSP between BSP and SSP, in accuracy and in time",
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
