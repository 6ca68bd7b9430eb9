"""What is wanted of a step, and how what was measured compares with it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.ratios import Round, Spread, paired_ratios, speeds, spread
from benchmarks.steps import server
from benchmarks.steps.server import Update
from benchmarks.steps.slopes import Step
from benchmarks.steps.works import UNTUNED

# One round: contender -> what it gave; a failed contender is absent.
StepRound = Mapping[str, Step | Update]

# Of these more is better, and a target is the least ratio; they are measured as times.
SPEED, UPDATES = "speed", "updates/s"
STEP, FAULTS = "step", "page faults a step"
FIT, EPOCH_END = "a fit's own time", "an epoch's end"
MEMORY = "memory"
# Quantity -> the field of a step that it is taken from.
_FIELDS = {
    SPEED: "step_ms",
    STEP: "step_ms",
    FAULTS: "page_faults",
    FIT: "fit_ms",
    EPOCH_END: "epoch_end_ms",
    UPDATES: "update_ms",
    MEMORY: "memory_mib",
}


class Target(NamedTuple):
    """One thing that is wanted of one work."""

    contender: str  # our side
    reference: str | None  # what it is divided by; None: nothing, the bound is its own
    quantity: str
    bound: float
    is_for_many: bool = False  # of more processes than two

    @property
    def is_least(self) -> bool:
        """Whether the bound is the least that is wanted, and not the most."""
        return self.quantity in (SPEED, UPDATES)


class Row(NamedTuple):
    """One target beside what was measured."""

    work: str
    target: Target
    values: tuple[float, ...]  # of each round

    @property
    def found(self) -> Spread:
        """Median, least and greatest."""
        return spread(self.values)

    @property
    def verdict(self) -> str:
        """Say whether the median keeps the bound: "reached" or "missed"."""
        median, bound = self.found.median, self.target.bound
        is_kept = median >= bound if self.target.is_least else median <= bound
        return "reached" if is_kept else "missed"


_NFDT = ("nfdt-asgd", "nfdt")


def _sped_up(contender: str, bound: float) -> Target:
    return Target(contender, f"{contender}-before", STEP, bound)


def _read(bound: float) -> list[Target]:
    sides = (("hfdt-one", "alone"), ("hfdt", "copies"))
    return [Target(*pair, SPEED, bound) for pair in sides]


_CNN = [
    *(Target(name, "copies", SPEED, 0.95) for name in _NFDT),
    *(Target(name, f"{name}-before", SPEED, 1.3) for name in _NFDT),
    *(Target(name, None, FAULTS, 500) for name in _NFDT),
]
_FOR_MANY = [
    Target("hfdt", "copies", SPEED, 0.85, is_for_many=True),
    Target("nfdt-asgd", "copies", SPEED, 0.85, is_for_many=True),
    Target("nfdt", "copies", SPEED, 0.8, is_for_many=True),
]
_UNTUNED = [
    Target("hfdt", "copies", SPEED, 0.9),
    Target("hfdt", "hand", SPEED, 1.0),
    *(Target(name, "copies", SPEED, 0.85) for name in _NFDT),
]

TARGETS: Mapping[str, Sequence[Target]] = {
    "deep": [
        Target("hfdt", "copies", STEP, 1.4),
        Target("hfdt", "hand", STEP, 0.85),
        *(_sped_up(name, 0.6) for name in _NFDT),
    ],
    "dense": [
        _sped_up("hfdt", 0.75),
        _sped_up("nfdt-asgd", 0.6),
        Target("hfdt", "hand", STEP, 0.85),
    ],
    "cnn": [*_CNN, *_FOR_MANY],
    "cnn-long": _CNN,
    "cnn-pydataset": _read(1.15),
    "cnn-generator": _read(1.15),
    "fit": [
        Target("hfdt", "copies", FIT, 1.3),
        Target("hfdt", "copies", EPOCH_END, 1.3),
    ],
    **dict.fromkeys(UNTUNED, _UNTUNED),
    "mlp": _FOR_MANY,
    # What the interpreter maps differs by less than 1 % from run to run.
    server.NAME: [
        Target(server.NAME, server.BEFORE, UPDATES, 1.5),
        Target(server.NAME, server.BEFORE, MEMORY, 1.01),
    ],
}


def rows(work: str, rounds: Sequence[StepRound], processes: int) -> list[Row]:
    """Return a row for every target of a work whose sides ran in one round.

    Args:
        work: Its name.
        rounds: What was measured.
        processes: That computed at once.
    """
    found = []
    for target in TARGETS.get(work, ()):
        values = _values(target, rounds)
        if values and target.is_for_many == (processes > 2):
            found.append(Row(work, target, tuple(values)))
    return found


def _values(target: Target, rounds: Sequence[StepRound]) -> list[float]:
    measured = [of_round(one, target.quantity) for one in rounds]
    if target.reference is None:
        return speeds(measured, target.contender)
    sides = (target.contender, target.reference)
    # A speed is the inverse of a time, and so is the ratio of two of them.
    return paired_ratios(measured, *(reversed(sides) if target.is_least else sides))


def of_round(one: StepRound, quantity: str) -> Round:
    """Return one quantity of all contenders that have it."""
    found = {name: getattr(step, _FIELDS[quantity]) for name, step in one.items()}
    return {name: value for name, value in found.items() if value is not None}


def verdicts(found: Sequence[Row]) -> dict[str, list[str]]:
    """Return which targets are reached and which are missed, in words."""
    lines: dict[str, list[str]] = {"reached": [], "missed": []}
    for row in found:
        target = row.target
        beside = f" to {target.reference}" if target.reference else ""
        lines[row.verdict].append(
            f"{row.work}: {target.contender}{beside}, {target.quantity}"
        )
    return lines
