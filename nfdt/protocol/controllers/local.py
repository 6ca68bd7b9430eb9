"""Rounds of steps that workers make by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fdtcore.validation import demand, is_count
from nfdt.protocol.controllers.bulk import all_are_in
from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger


@dataclass(frozen=True)
class LocalSteps(Controller):
    """Merges the workers' parameters after some steps of each (local SGD).

    Each worker w makes H steps of its own from the shared x, to x_w. When all n have
    come to the end of theirs::

        x = x + mean_w(x_w - x)

    A worker whose epoch ends merges what it has done by then.

    Args:
        steps: H, >= 1; with 1 and SGD it is :class:`BulkSynchronous`.

    Raises:
        ValueError: steps is no such integer.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from
    Decentralized Data", AISTATS 2017, arXiv:1602.05629; Stich, "Local SGD Converges
    Fast and Communicates Little", ICLR 2019, arXiv:1805.09767.
    """

    steps: int
    paces: ClassVar[bool] = True

    def __post_init__(self) -> None:
        demand(
            is_count(self.steps, at_least=1),
            "steps must be an integer >= 1",
            "Use 8 for eight steps of each worker between two merges.",
            steps=self.steps,
        )

    def decide(
        self, ledger: Ledger, state: Any, *, now_s: float
    ) -> tuple[Decision, Any]:
        """Lets workers go on for H steps each, then holds until all are in."""
        del now_s
        done = tuple(w for w in ledger.asking if ledger.steps.get(w, 0) >= self.steps)
        if ledger.held and all_are_in(ledger):
            return Decision(ledger.held, ledger.waiting, submit=done), state
        return Decision((), (), submit=done), state
