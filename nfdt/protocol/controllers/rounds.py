"""Rounds that close early, and rounds of local steps: k of n, backups, ``local:k``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fdtcore.validation import demand, is_count, is_number
from nfdt.protocol.controllers.barriers import all_are_in
from nfdt.protocol.controllers.decisions import Controller, Decision, Ledger


class Rounds(Controller):
    """Closes a round when ``wanted(n)`` of n active workers' gradients are in.

    Their mean is one update, and all who wait are released. A gradient that comes
    after its round was computed at older parameters than the server has: it is late.

    * Dropped (``keeps_late`` is false): it counts for nothing, its sender goes on at
      once, and its batch is over without having been trained on.
    * Kept: it counts in the next round, as any other, and its staleness is >= 1, so
      that the algorithm's correction acts. Its sender waits for that round; if it
      counted only with k fresh ones, two such senders of four could keep a round
      of three open for ever.

    With drops, an update is of gradients computed at the newest parameters alone.
    """

    keeps_late: bool

    def wanted(self, num_active: int) -> int:
        """Returns k, in 1 .. n, for n active workers."""
        raise NotImplementedError

    def decide(
        self, ledger: Ledger, state: None, *, now_s: float
    ) -> tuple[Decision, None]:
        """Holds until enough are in; drops what is late, where it is not kept."""
        del now_s
        late = frozenset() if self.keeps_late else ledger.late
        useless = tuple(w for w in ledger.held if w in late)
        useful = tuple(w for w in ledger.held if w not in late)
        # Who has pushed counts, even where nobody waits for it any more.
        active = len({*ledger.clocks, *ledger.held})
        if useful and len(useful) >= self.wanted(active):
            return Decision(apply=useful, release=ledger.waiting, drop=useless), state
        return Decision((), release=useless, drop=useless), state


@dataclass(frozen=True)
class Partial(Rounds):
    """Waits for a share of the workers: k = ceil(share * n) of n (k of n).

    Args:
        share: In (0, 1]; 1 waits for all.
        keeps_late: Whether a late gradient is kept for the next round.

    Raises:
        ValueError: share is out of its range.

    Source: Chen, Pan, Monga, Bengio, Jozefowicz, "Revisiting Distributed Synchronous
    SGD", 2016, arXiv:1604.00981; a share of results, as Kurochkin, GRID'2021, asks for.
    To keep what is late is ours.
    """

    share: float
    keeps_late: bool = False

    def __post_init__(self) -> None:
        demand(
            is_number(self.share) and 0 < self.share <= 1,
            "share must be a number in (0, 1]",
            "Use 0.8 for four workers of five, or BulkSynchronous() (bsp) for all.",
            share=self.share,
        )

    def wanted(self, num_active: int) -> int:
        """Returns ceil(share * n), at least 1."""
        # Rounded: 0.28 * 25 is a little more than 7 in floating point.
        return max(1, math.ceil(round(self.share * num_active, 9)))


@dataclass(frozen=True)
class Backup(Rounds):
    """Waits for all but some: k = n - spare of n workers (backup workers).

    Args:
        spare: Workers that a round does not wait for, >= 1.
        keeps_late: Whether a late gradient is kept for the next round.

    Raises:
        ValueError: spare is not an integer >= 1.

    Source: as :class:`Partial`, there sec. 3.
    """

    spare: int
    keeps_late: bool = False

    def __post_init__(self) -> None:
        demand(
            is_count(self.spare, at_least=1),
            "spare must be an integer >= 1",
            "Use BulkSynchronous() (bsp) to wait for all.",
            spare=self.spare,
        )

    def wanted(self, num_active: int) -> int:
        """Returns n - spare, at least 1."""
        return max(1, num_active - self.spare)


@dataclass(frozen=True)
class LocalSteps(Controller):
    """Merges the workers' parameters after some steps of each (local SGD).

    Each worker w makes H local steps from the shared x, to x_w. When all n have
    come to the end of theirs::

        x = x + mean_w(x_w - x)

    A worker whose epoch ends merges what it has done by then.

    Args:
        steps: H, >= 1; with 1 and SGD it is :class:`BulkSynchronous`.

    Raises:
        ValueError: steps is not an integer >= 1.

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
        self, ledger: Ledger, state: None, *, now_s: float
    ) -> tuple[Decision, None]:
        """Lets workers go on for H steps each, then holds until all are in."""
        del now_s
        done = tuple(w for w in ledger.asking if ledger.steps.get(w, 0) >= self.steps)
        if ledger.held and all_are_in(ledger):
            return Decision(ledger.held, ledger.waiting, submit=done), state
        return Decision((), (), submit=done), state
