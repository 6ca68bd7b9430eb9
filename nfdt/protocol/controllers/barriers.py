"""Controllers with a bounded lead: SSP, and its ends BSP and ASP.

Under ASP nobody waits; under BSP each worker waits for all others.
"""

from __future__ import annotations

from dataclasses import dataclass

from fdtcore.validation import demand, is_count
from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger


@dataclass(frozen=True)
class StaleSynchronous(Controller):
    """Lets a worker start a step only while it leads the slowest by <= max_lead (SSP).

    The bound holds at release; a worker may therefore be seen one step further ahead
    right after its push. ``max_lead=0`` makes workers keep step, but each gradient is
    an update of its own: it is not :class:`BulkSynchronous`.

    Args:
        max_lead: Largest lead at which a worker is released, steps, >= 0.

    Raises:
        ValueError: max_lead is not an integer >= 0.

    Source: Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel
    Parameter Server", NIPS 2013.
    """

    max_lead: int

    def __post_init__(self) -> None:
        demand(
            is_count(self.max_lead, at_least=0),
            "max_lead must be an integer >= 0",
            "Use Asynchronous() (asp) for no bound.",
            max_lead=self.max_lead,
        )

    def decide(
        self, ledger: Ledger, state: None, *, now_s: float
    ) -> tuple[Decision, None]:
        """Applies what came and releases whoever is within the bound."""
        del now_s  # SSP counts steps, not seconds
        slowest = min(ledger.clocks.values(), default=0)
        ready = tuple(
            w
            for w in ledger.waiting
            if ledger.clocks.get(w, slowest) - slowest <= self.max_lead
        )
        return Decision(apply=ledger.held[:1], release=ready), state


@dataclass(frozen=True)
class Asynchronous(Controller):
    """Nobody waits: each gradient is an update of its own (ASP)."""

    def decide(
        self, ledger: Ledger, state: None, *, now_s: float
    ) -> tuple[Decision, None]:
        """Applies what came and releases who sent it."""
        del now_s
        return Decision(apply=ledger.held[:1], release=ledger.waiting), state


@dataclass(frozen=True)
class BulkSynchronous(Controller):
    """Everybody waits for everybody: one mean gradient a round (BSP).

    Source: Valiant, "A bridging model for parallel computation", CACM 1990.
    """

    def decide(
        self, ledger: Ledger, state: None, *, now_s: float
    ) -> tuple[Decision, None]:
        """Holds until every active worker's gradient is in."""
        del now_s
        if all_are_in(ledger):
            return Decision(apply=ledger.held, release=ledger.waiting), state
        return Decision((), ()), state


def all_are_in(ledger: Ledger) -> bool:
    """Whether every active worker's gradient is held."""
    return set(ledger.held) >= set(ledger.clocks)
