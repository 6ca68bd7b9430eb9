"""The steps of each rank, from its operations: computing, waiting, exchanging.

A step is one update of an optimizer with the gradients of all ranks. Pure arithmetic.
Letters: N steps of one rank.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fdtcore.telemetry.rows import Times
from hfdt.ring_bytes import ring_bytes, sent_bytes
from hfdt.telemetry.trace import Life, RankRecord, RecordedOperation

_GRADIENTS = re.compile(r"gradients\.(\d+\.\d+)(?:\.|$)")
_COMPRESSED = ".compressed"
Key = tuple[str, int]  # of which gradients, and how many of them were before


class TimedExchange(NamedTuple):
    """One operation of a step: a bucket of gradients on its way."""

    begun_s: float  # when this rank's tensors were there
    met_s: float  # ... those of the last rank
    ended_s: float
    lane: int  # of those that are on their way at one time, each has another
    sent_bytes: float
    name: str


class RankSteps(NamedTuple):
    """One rank: ``start <= computed <= ready <= met <= ended``.

    From ``start_s`` on it computes, until its last gradient is there at
    ``computed_s``; until ``ready_s`` it chooses what to send; until ``met_s`` it waits
    for the last rank; until ``ended_s`` the gradients become one. A part of them may
    have left while it computed.
    """

    start_s: Times  # [N], as are the next
    computed_s: Times
    ready_s: Times
    met_s: Times
    ended_s: Times
    selecting_s: Times  # choosing what to send, and putting together what has come
    exchanged_s: Times  # time in which some gradient was on its way
    hidden_s: Times  # ... while the rank computed
    sent_bytes: Times
    dense_bytes: Times
    counts: npt.NDArray[np.bool_]  # a step that is traced in its first run does not
    exchanges: list[list[TimedExchange]]  # [N]

    @property
    def edges(self) -> tuple[Times, ...]:
        """Where its parts begin and end."""
        return self.start_s, self.computed_s, self.ready_s, self.met_s, self.ended_s


class StepTimeline(NamedTuple):
    """A run; all times but ``origin_s`` count from there."""

    origin_s: float  # on the first rank's clock
    end_s: float
    ranks: Mapping[int, RankSteps]
    shifts: Sequence[Mapping[int, float]]  # by life: what is added to a rank's times


@dataclasses.dataclass
class _Step:
    key: Key
    operations: list[RecordedOperation] = field(default_factory=list)
    works: list[RecordedOperation] = field(default_factory=list)

    @property
    def plain(self) -> list[RecordedOperation]:
        return [one for one in self.operations if _COMPRESSED not in one.name]

    @property
    def begun_s(self) -> float:
        return min(one.begun_s for one in (*self.operations, *self.works))

    @property
    def computed_s(self) -> float:
        """When its last gradient was there."""
        made = [*self.plain, *self.works] or self.operations
        return max(one.begun_s for one in made)

    @property
    def ready_s(self) -> float:
        """When the last of what it sends was there."""
        within = [o.begun_s for o in self.operations if _COMPRESSED in o.name]
        first = [min(within)] if within else []
        return max([self.computed_s, *(one.begun_s for one in self.plain), *first])

    def moments(self) -> Iterator[tuple[object, float]]:
        """Yields what all ranks have to come to, and when this one did."""
        yield self.key, self.ready_s
        for what, one in self.named():
            yield what, one.begun_s

    def named(self) -> Iterator[tuple[object, RecordedOperation]]:
        """Yields its operations, by names that are the same on all ranks."""
        counts: dict[str, int] = {}
        for one in self.operations:
            counts[one.name] = counts.get(one.name, 0) + 1
            yield (self.key, one.name, counts[one.name]), one

    @property
    def ended_s(self) -> float:
        return max(one.ended_s for one in (*self.operations, *self.works))


def build(lives: Sequence[Life]) -> StepTimeline:
    """Returns the timeline of a run.

    Args:
        lives: Of the job.
    """
    parts: dict[int, list[RankSteps]] = {}
    shifts = []
    for life in lives:
        found = {rank: list(_steps(record)) for rank, record in life.items()}
        shift_s = {rank: _shift_s(life[0], record) for rank, record in life.items()}
        shifts.append(shift_s)
        met_s: dict[object, float] = {}
        for rank, steps in found.items():
            for what, there_s in ((w, t) for step in steps for w, t in step.moments()):
                at_s = there_s + shift_s[rank]
                met_s[what] = max(at_s, met_s.get(what, at_s))
        for rank, steps in found.items():
            made = _rank(life[rank], steps, met_s, shift_s[rank])
            parts.setdefault(rank, []).append(made)
    ranks = {rank: _joined(parts[rank]) for rank in sorted(parts)}
    known = [one for one in ranks.values() if len(one.ended_s)]
    if not known:
        return StepTimeline(0.0, 0.0, {}, shifts)
    # The first step may have begun long before, while it was traced.
    origin_s = min(_first_s(one) for one in known)
    moved = {rank: _moved(one, -origin_s) for rank, one in ranks.items()}
    end_s = max(float(one.ended_s[-1]) for one in moved.values() if len(one.ended_s))
    return StepTimeline(origin_s, end_s, moved, shifts)


def _steps(record: RankRecord) -> Iterator[_Step]:
    """Yields the steps of a rank, by time."""
    found: dict[Key, _Step] = {}
    counts: dict[str, int] = {}

    def step(one: RecordedOperation) -> _Step | None:
        match = _GRADIENTS.match(one.name)
        if match is None:
            return None
        counts[one.name] = counts.get(one.name, -1) + 1
        key = match[1], counts[one.name]
        return found.setdefault(key, _Step(key))

    for one in sorted(record.works, key=lambda one: one.begun_s):
        if of := step(one):
            of.works.append(one)
    works = [(one, of) for of in found.values() for one in of.works]
    works.sort(key=lambda pair: pair[0].begun_s)
    begun_s = [one.begun_s for one, _ in works]
    for one in sorted(record.operations, key=lambda one: one.begun_s):
        if _COMPRESSED in one.name:
            # A compressor may send several messages of one name in a step.
            place = bisect.bisect_right(begun_s, one.begun_s) - 1
            # A job that was killed has not told of its last work.
            if place >= 0 and one.begun_s <= works[place][0].ended_s:
                works[place][1].operations.append(one)
        elif of := step(one):
            of.operations.append(one)
    yield from sorted(found.values(), key=lambda one: one.begun_s)


def _shift_s(first: RankRecord, record: RankRecord) -> float:
    """Returns what is added to a rank's times, to be those of the first rank's clock.

    An operation of all ends on all ranks at about one moment.
    """
    if record.facts.get("host") == first.facts.get("host"):
        return 0.0
    pairs = zip(_ends(first), _ends(record), strict=False)
    apart_s = [mine_s - its_s for mine_s, its_s in pairs]
    return statistics.median(apart_s) if apart_s else 0.0


def _ends(record: RankRecord) -> Iterator[float]:
    for step in _steps(record):
        yield step.ended_s


def _rank(
    record: RankRecord,
    steps: Sequence[_Step],
    met_s: Mapping[object, float],
    shift_s: float,
) -> RankSteps:
    size = record.facts["ranks"]
    # What ranks do together between steps, such as the end of an epoch, is in none.
    between_s = sorted(
        one.ended_s
        for one in record.operations
        if not one.is_traced and not _GRADIENTS.match(one.name)
    )
    traced = _traced(record, steps)
    before_s = -np.inf
    columns: list[tuple[float, ...]] = []
    exchanges = []
    for step in steps:
        computed_s, ended_s = step.computed_s, step.ended_s
        place = bisect.bisect_right(between_s, step.begun_s)
        last_s = max(before_s, between_s[place - 1] if place else -np.inf)
        start_s = min(last_s, step.begun_s) if np.isfinite(last_s) else step.begun_s
        there_s = min(max(met_s[step.key] - shift_s, step.ready_s), ended_s)
        spans = [(one.begun_s, one.ended_s) for one in step.operations]
        within = [(begun, min(ended, computed_s)) for begun, ended in spans]
        sent = [sent_bytes(o.what, o.num_bytes, size) for o in step.operations]
        compressed_s = _covered_s(
            (o.begun_s, o.ended_s) for o in step.operations if _COMPRESSED in o.name
        )
        working_s = sum(one.ended_s - one.begun_s for one in step.works)
        columns.append(
            (
                start_s,
                computed_s,
                step.ready_s,
                there_s,
                ended_s,
                max(0.0, working_s - compressed_s) if step.works else 0.0,
                _covered_s(spans),
                _covered_s(within),
                sum(sent),
                _dense_bytes(record, step, size),
            )
        )
        met = [met_s[what] - shift_s for what, _ in step.named()]
        exchanges.append(_lanes(step.operations, met, sent))
        before_s = ended_s
    table = np.array(columns, float).reshape(-1, 10).T
    counts = np.array([step.key not in traced for step in steps], bool)
    arrays = dict(zip(RankSteps._fields, table, strict=False))
    return _moved(RankSteps(**arrays, counts=counts, exchanges=exchanges), shift_s)


def _traced(record: RankRecord, steps: Sequence[_Step]) -> set[Key]:
    """Returns the steps in which functions were traced: the first after each trace."""
    found = set()
    for of in record.gradients:
        name = of.name.removeprefix("gradients.")
        later = (s for s in steps if s.key[0] == name and s.begun_s >= of.time_s)
        if (first := next(later, None)) is not None:
            found.add(first.key)
    return found


def _dense_bytes(record: RankRecord, step: _Step, size: int) -> float:
    known = [
        one.num_bytes
        for one in record.gradients
        if one.name == f"gradients.{step.key[0]}" and one.time_s <= step.ended_s
    ]
    return ring_bytes(known[-1], size) if known else np.nan


def _lanes(
    operations: Sequence[RecordedOperation],
    met_s: Sequence[float],
    sent: Sequence[float],
) -> list[TimedExchange]:
    """Returns operations by time, those that are under way together in other lanes."""
    free_s: list[float] = []  # by lane
    found = []
    rows = zip(operations, met_s, sent, strict=True)
    for one, there_s, num_bytes in sorted(rows, key=lambda row: row[0].begun_s):
        lanes = [lane for lane, end_s in enumerate(free_s) if end_s <= one.begun_s]
        lane = lanes[0] if lanes else len(free_s)
        free_s[lane : lane + 1] = [one.ended_s]
        name = one.name.removeprefix("gradients.")
        there_s = min(max(there_s, one.begun_s), one.ended_s)
        times_s = one.begun_s, there_s, one.ended_s
        found.append(TimedExchange(*times_s, lane, num_bytes, name))
    return found


def _covered_s(spans: Sequence[tuple[float, float]] | Iterator) -> float:
    """Returns how long at least one of some spans lasts."""
    total_s, until_s = 0.0, -np.inf
    for begun_s, ended_s in sorted(spans):
        total_s += max(0.0, ended_s - max(begun_s, until_s))
        until_s = max(until_s, ended_s)
    return float(total_s)


def _first_s(one: RankSteps) -> float:
    return min([float(one.computed_s[0]), *(e.begun_s for e in one.exchanges[0])])


def _moved(one: RankSteps, by_s: float) -> RankSteps:
    times = {name: getattr(one, name) + by_s for name in RankSteps._fields[:5]}
    exchanges = [[_later(e, by_s) for e in step] for step in one.exchanges]
    return one._replace(**times, exchanges=exchanges)


def _later(one: TimedExchange, by_s: float) -> TimedExchange:
    return one._replace(
        begun_s=one.begun_s + by_s, met_s=one.met_s + by_s, ended_s=one.ended_s + by_s
    )


def _joined(parts: Sequence[RankSteps]) -> RankSteps:
    """Returns the lives of a rank as one."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in RankSteps._fields[:-1]
    }
    return RankSteps(**arrays, exchanges=[e for part in parts for e in part.exchanges])
