"""The algorithms that are compared, by the names of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nfdt.algorithms import ALGORITHMS, Algorithm, ddc_asgd


@dataclass(frozen=True)
class Contender:
    """An algorithm with its momentum.

    Args:
        algorithm: As :mod:`nfdt.algorithms` has it.
        momentum: mu. The rate of a run is multiplied by ``1 - mu``: in the long run a
            gradient then moves the parameters as far as without momentum.
    """

    algorithm: Algorithm
    momentum: float = 0.0


BOTH, MOMENTUM, TAYLOR = (
    f"ddc-asgd {terms}" for terms in ("momentum+taylor", "momentum", "taylor")
)

HEAVY_BALL = "momentum SGD"

CONTENDERS: Mapping[str, Contender] = {
    "asgd": Contender(ALGORITHMS["asgd"]),
    HEAVY_BALL: Contender(ALGORITHMS["asgd"], momentum=0.9),
    "dc-asgdk": Contender(ALGORITHMS["dc-asgdk"]),
    # Named by their terms: results stay what they are if the table's form changes.
    BOTH: Contender(ddc_asgd(terms="momentum+taylor")),
    MOMENTUM: Contender(ddc_asgd(terms="momentum")),
    TAYLOR: Contender(ddc_asgd(terms="taylor")),
    **{
        name: Contender(ALGORITHMS[name])
        for name in ("dc-asgd-c", "dc-asgd-a", "gap-aware", "staleness-aware")
    },
    "dana-slim": Contender(ALGORITHMS["dana-slim"], momentum=0.9),
    **{
        f"{MOMENTUM} q={q}": Contender(ddc_asgd(terms="momentum", q=float(q)))
        for q in (2, 5, 10)
    },
}
# The form that the table of algorithms has.
DEFAULT = next(
    name
    for name, contender in CONTENDERS.items()
    if contender.algorithm == ALGORITHMS["ddc-asgd"]
)
