"""Everybody waits for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger


@dataclass(frozen=True)
class BulkSynchronous(Controller):
    """Everybody waits for everybody: one mean gradient a round (BSP).

    Source: Valiant, "A bridging model for parallel computation", CACM 1990.
    """

    def decide(
        self, ledger: Ledger, state: Any, *, now_s: float
    ) -> tuple[Decision, Any]:
        """Holds until every active worker's gradient is in."""
        del now_s
        if all_are_in(ledger):
            return Decision(apply=ledger.held, release=ledger.waiting), state
        return Decision((), ()), state


def all_are_in(ledger: Ledger) -> bool:
    """Whether every active worker's gradient is held."""
    return set(ledger.held) >= set(ledger.clocks)
