"""Golden transcripts of who waits for whom; this program rewrites them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nfdt.protocol.controllers import Controller
from tests.nfdt.rules import CONTROLLERS, server
from tests.nfdt.virtual_time import Workers

FOLDER = Path(__file__).parent / "traces"


class Scene(NamedTuple):
    """One transcript.

    Args:
        about: What it shows, one sentence for each line.
        controller: Who waits.
        step_s: Of each worker.
        pushes: Of each worker.
        away: (worker, clock) -> how long it is away then.
        lost: worker -> clock after which it dies.
    """

    about: tuple[str, ...]
    controller: Controller
    step_s: tuple[float, ...] = (1.0, 2.5)
    pushes: int = 4
    away: Mapping[tuple[int, int], float] | None = None
    lost: Mapping[int, int] | None = None

    def transcript(self) -> str:
        """Returns the transcript."""
        made = server("asgd", np.zeros(2), len(self.step_s), self.controller)
        workers = Workers(
            made,
            lambda worker: self.step_s[worker],
            self.pushes,
            away=self.away,
            lost=self.lost,
        )
        lines = [*(f"# {line}" for line in self.about), *map(str, workers.run())]
        return "\n".join(lines) + "\n"


SCENES = {
    "asp": Scene(
        ("ASP. Nobody waits; w1's gradients are as late as w0 is fast.",),
        CONTROLLERS["asp"],
    ),
    "bsp": Scene(
        ("BSP. w0 is held until w1's gradient is in; nothing is ever late.",),
        CONTROLLERS["bsp"],
    ),
    "ssp_lead0": Scene(
        (
            "SSP, max_lead=0. The schedule of a barrier, but an update for each push:",
            "the second of a round is one update late.",
        ),
        CONTROLLERS["ssp0"],
    ),
    "ssp_lead1": Scene(
        (
            "SSP, max_lead=1. w0 is fast; it is held at t=2.0 and freed by w1's first",
            "push.",
        ),
        CONTROLLERS["ssp1"],
    ),
    "bsp_lost": Scene(
        ("BSP. w2 dies in its second step, and the round goes on without it.",),
        CONTROLLERS["bsp"],
        step_s=(1.0, 1.5, 3.0),
        lost={2: 1},
    ),
    "partial": Scene(
        (
            "Rounds of two of three. w2 is never in time: each of its gradients comes",
            "after its round, is dropped, and w2 goes on at once from newer",
            "parameters, until it is alone.",
        ),
        CONTROLLERS["partial"],
        step_s=(1.0, 1.5, 4.0),
        pushes=5,
    ),
    "partial_keep": Scene(
        (
            "As partial, but what is late is kept: it is in the next round, two",
            "updates late at t=4.0, and w2 waits for that round.",
        ),
        CONTROLLERS["partial keep"],
        step_s=(1.0, 1.5, 4.0),
        pushes=5,
    ),
    "local": Scene(
        (
            "Local steps, three of each. w0 waits for w1 after its third; when w1 has",
            "come, both go on from the mean. The fourth is merged before they leave.",
        ),
        CONTROLLERS["local"],
    ),
    "dsp": Scene(
        (
            "DSP, s=3, w=2, fixed. w0 leads by 3 at t=3.0 and calls a barrier: w1 ends",
            "the step it is in, submits, and both begin anew from the sum. Alone, w1",
            "comes to a barrier with every second step.",
        ),
        CONTROLLERS["dsp fixed"],
        step_s=(1.0, 3.5),
        pushes=6,
    ),
    "ssp_away": Scene(
        (
            "SSP, max_lead=1. w1 is away after its first push: w0 goes on alone, and",
            "w1 comes back abreast of it.",
        ),
        CONTROLLERS["ssp1"],
        away={(1, 1): 2.0},
        pushes=8,
    ),
}


def main() -> None:
    """Rewrites every transcript."""
    FOLDER.mkdir(exist_ok=True)
    for name, scene in SCENES.items():
        (FOLDER / f"{name}.txt").write_text(scene.transcript())


if __name__ == "__main__":
    main()
