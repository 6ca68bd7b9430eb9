"""Nobody waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger


@dataclass(frozen=True)
class Asynchronous(Controller):
    """Nobody waits: each gradient is an update of its own (ASP)."""

    def decide(
        self, ledger: Ledger, state: Any, *, now_s: float
    ) -> tuple[Decision, Any]:
        """Applies what came and releases who sent it."""
        del now_s
        return Decision(apply=ledger.held[:1], release=ledger.waiting), state
