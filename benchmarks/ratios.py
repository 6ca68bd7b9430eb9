"""From speeds in interleaved rounds to ratios, their spread, and the targets."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

# One round: contender -> images per second and rank; a failed contender is absent.
Round = Mapping[str, float]


class Spread(NamedTuple):
    """Median and extremes of one quantity over the rounds."""

    median: float
    low: float
    high: float
    rounds: int  # how many rounds had the quantity


class Comparison(NamedTuple):
    """One question of the benchmark, and what is wanted of the answer."""

    contender: str  # our side
    references: tuple[str, ...]  # the fastest of them, by median, is compared
    question: str
    targets: Mapping[str, float]  # work -> least ratio; no target for the others

    def wanted(self, references: Collection[str], present: Collection[str]) -> bool:
        """Say whether a work asks this question.

        Args:
            references: Those that were chosen.
            present: Contenders of the work.
        """
        found = set(self.references) & set(references) & set(present)
        return bool(found) and self.contender in present


class Row(NamedTuple):
    """One answered comparison."""

    work: str
    contender: str
    reference: str
    question: str
    ratio: Spread
    values: tuple[float, ...]  # the ratio in each round
    target: float | None

    @property
    def verdict(self) -> str:
        """Say whether the median reaches the target: "reached", "missed" or "-"."""
        if self.target is None:
            return "-"
        return "reached" if self.ratio.median >= self.target else "missed"


COMPARISONS = (
    Comparison("hfdt", ("copies",), "cost of communication", {"cnn": 0.95}),
    Comparison(
        "hfdt-one", ("alone",), "overhead at -np 1", {"cnn": 0.97, "payload": 0.97}
    ),
    Comparison(
        "hfdt", ("mpirun", "gloo"), "Horovod by hand", {"cnn": 1.3, "payload": 1.3}
    ),
    Comparison("hfdt", ("mirrored",), "tf.distribute", {"cnn": 1.5, "payload": 1.5}),
    Comparison(
        "nfdt", ("copies",), "cost of the server", {"cnn": 0.90, "uneven": 0.90}
    ),
    Comparison("nfdt", ("pss",), "ParameterServerStrategy", {"cnn": 1.4}),
    Comparison("nfdt", ("hfdt",), "asynchronous or synchronous", {"uneven": 1.6}),
    Comparison("nfdt-overlap", ("nfdt",), "exchange hidden", {}),
)


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and greatest value.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0, rounds=3)
    """
    return Spread(statistics.median(values), min(values), max(values), len(values))


def speeds(rounds: Sequence[Round], name: str) -> list[float]:
    """Return a contender's speed in every round in which it ran."""
    return [one[name] for one in rounds if name in one]


def paired_ratios(
    rounds: Sequence[Round], contender: str, reference: str
) -> list[float]:
    """Return contender / reference in every round that has both.

    Both ran within the same minutes, so what the machine did to one it did to the
    other; the ratio of two medians would not have that.

    >>> paired_ratios([{"a": 2.0, "b": 1.0}, {"a": 3.0}], "a", "b")
    [2.0]
    """
    return [
        one[contender] / one[reference]
        for one in rounds
        if contender in one and reference in one
    ]


def fastest(rounds: Sequence[Round], names: Sequence[str]) -> str | None:
    """Return the name with the greatest median speed, None if none of them ran."""
    medians = {
        name: statistics.median(speeds(rounds, name))
        for name in names
        if speeds(rounds, name)
    }
    return max(medians, key=medians.__getitem__) if medians else None


def compare(
    work: str, rounds: Sequence[Round], comparisons: Sequence[Comparison] = COMPARISONS
) -> list[Row]:
    """Return one row for every comparison whose two sides ran in one round."""
    rows = []
    for comparison in comparisons:
        reference = fastest(rounds, comparison.references)
        if reference is None:
            continue
        values = paired_ratios(rounds, comparison.contender, reference)
        if values:
            rows.append(
                Row(
                    work,
                    comparison.contender,
                    reference,
                    comparison.question,
                    spread(values),
                    tuple(values),
                    comparison.targets.get(work),
                )
            )
    return rows


def verdicts(
    rows: Sequence[Row],
    works: Sequence[str],
    references: Collection[str],
    comparisons: Sequence[Comparison] = COMPARISONS,
) -> dict[str, list[str]]:
    """Return which targets are reached, missed, not measured.

    Args:
        rows: Of all works.
        works: The works that were to be measured.
        references: The contenders that were to be compared with.
        comparisons: Where the targets stand.
    """
    found = {(row.work, row.question): row.verdict for row in rows}
    lines: dict[str, list[str]] = {"reached": [], "missed": [], "not measured": []}
    for work in works:
        for comparison in comparisons:
            chosen = set(comparison.references) & set(references)
            if work in comparison.targets and chosen:
                verdict = found.get((work, comparison.question), "not measured")
                lines[verdict].append(f"{work}: {comparison.question}")
    return lines
