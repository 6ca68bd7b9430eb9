"""What of the measurement of steps is to run."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.launches import ROOT
from benchmarks.steps.beside import Beside
from benchmarks.steps.contenders import BEFORE, Place
from benchmarks.steps.works import SERVER, UPDATING, WORKS, StepWork


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
    before: Beside | None = None
    timeout_s: float = 900

    def work(self, name: str) -> StepWork:
        """Return the work as these settings want it."""
        return WORKS[name].shortened() if self.quick else WORKS[name]

    def names(self, name: str) -> tuple[str, ...]:
        """Return the contenders of a work to run."""
        known = UPDATING if name == SERVER else WORKS[name].contenders
        is_out = self.before is None
        return tuple(n for n in known if not (is_out and n.endswith(BEFORE)))

    def tree(self, name: str) -> Path:
        """Return the folder of the code that a contender of ours is to run."""
        if self.before is not None and name.endswith(BEFORE):
            return self.before.tree.resolve()
        return ROOT

    @property
    def place(self) -> Place:
        """What command lines depend on besides the work."""
        packages = self.before and self.before.packages
        cores = len(os.sched_getaffinity(0))
        return Place(sys.executable, cores, self.processes, packages)
