"""The input and the output of a controller, and its interface."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

_NONE: Mapping[int, Any] = MappingProxyType({})


class Ledger(NamedTuple):
    """What the server knows of its workers."""

    clocks: Mapping[int, int]  # active worker -> pushes received; never decreases
    held: tuple[int, ...]  # workers whose gradient is not applied yet, by arrival
    waiting: tuple[int, ...]  # workers without parameters, by arrival
    late: frozenset[int] = frozenset()  # of held: computed at older parameters
    asking: tuple[int, ...] = ()  # workers that have ended a local step, now
    steps: Mapping[int, int] = _NONE  # worker -> those since its last update; 0: none
    speeds: Mapping[int, float] = _NONE  # worker -> steps/s, as its monitor says


class Decision(NamedTuple):
    """What the server does now."""

    apply: tuple[int, ...]  # workers whose held gradients form one update
    release: tuple[int, ...]  # workers that may start their next step, after it
    drop: tuple[int, ...] = ()  # workers whose held gradients are used for nothing
    submit: tuple[int, ...] = ()  # of asking: they push now; the others go on
    adds_up: bool = False  # the update is of the gradients' sum, not of their mean
    note: Mapping[str, Any] | None = None  # the trace's record of it, with its kind


class Controller(Protocol):
    """Decides after every push, local step, and departure. Pure.

    ``paces`` says that workers train on copies of their own and ask after each step
    whether to push what has become of them; ``monitors``, that they then also say how
    they fare.
    """

    paces: ClassVar[bool] = False

    @property
    def monitors(self) -> bool:
        """Whether workers measure themselves and their machines."""
        return False

    def init(self, num_workers: int) -> Any:
        """Returns the state before the first push; none, where nothing is kept."""
        del num_workers

    def decide(
        self, ledger: Ledger, state: Any, *, now_s: float
    ) -> tuple[Decision, Any]:
        """Returns what to do now, and the state after it."""
        ...
