"""The table of algorithms (START HERE), each made of three independent choices.

========== ============================================= =====================
choice     what it decides                               module
========== ============================================= =====================
correction what is done to one late gradient             ``nfdt.rules.corrections``,
                                                         ``nfdt.rules.delay_compensation``
optimizer  how a gradient becomes an update              ``nfdt.rules.optimizers``,
                                                         ``nfdt.rules.averaging``
controller who waits, which gradients form an update     ``nfdt.protocol.controllers``
========== ============================================= =====================

An algorithm names the first two and what a worker sends; any controller goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fdtcore.validation import demand
from nfdt.rules.averaging import DelayMomentum, FixedDelayMomentum
from nfdt.rules.corrections import Correction, GapAware, NoCorrection, StalenessAware
from nfdt.rules.delay_compensation import (
    AdaptiveDelayCompensation,
    DelayCompensation,
    DelayedTaylor,
)
from nfdt.rules.delays import AUTO
from nfdt.rules.optimizers import Elastic, Optimizer, Sgd

GRADIENT = "gradient"  # the gradient of a batch
LOOKAHEAD = "lookahead"  # the gradient with the worker's own momentum ahead of it
DELTA = "delta"  # the change of parameters after some local steps
ELASTIC = "elastic"  # the difference between its parameters and the shared ones
_AS_IT_IS = NoCorrection()


@dataclass(frozen=True)
class Algorithm:
    """What makes a name of the literature.

    Args:
        name: As the literature, or the table, calls it.
        summary: What it does, in one line.
        correction: What is done to each gradient.
        optimizer: What is done with it then; None is the user's own optimizer.
        sends: What a worker pushes.
        memory: What the server holds besides the parameters, in units of them; M is
            the number of workers.
        source: Where it is from.
    """

    name: str
    summary: str
    correction: Correction = _AS_IT_IS
    optimizer: Optimizer | None = None
    sends: str = GRADIENT
    memory: str = "0"
    source: str = ""


TAYLOR, MOMENTUM, BOTH = "taylor", "momentum", "momentum+taylor"


def ddc_asgd(*, terms: str = TAYLOR, q: float | str = AUTO) -> Algorithm:
    """DDC-ASGD, reconstructed: terms that are weighted by each push's own delay.

    See :class:`nfdt.rules.delay_compensation.DelayedTaylor`,
    :class:`nfdt.rules.averaging.DelayMomentum`
    and docs/ddc-asgd.md for the equations, their evidence and what would falsify them.

    Args:
        terms: "taylor", and the user's optimizer makes the update; "momentum", which
            with q = 1 at constant delay M - 1 is DC-ASGDK; or "momentum+taylor", in
            which the momentum counts a quarter.
        q: Delay at which a gradient and the past weigh the same; "auto" follows the
            mean delay.

    Raises:
        ValueError: The terms are unknown, or q is neither "auto" nor positive.
    """
    demand(
        terms in (TAYLOR, MOMENTUM, BOTH),
        f"terms must be {TAYLOR!r}, {MOMENTUM!r} or {BOTH!r}",
        f"Use {TAYLOR!r}.",
        terms=terms,
    )
    has_taylor, has_momentum = terms != MOMENTUM, terms != TAYLOR
    caution = 4.0 if has_taylor else 1.0
    return Algorithm(
        "ddc-asgd",
        _SUMMARIES[terms],
        DelayedTaylor(q, saturating=not has_momentum) if has_taylor else _AS_IT_IS,
        DelayMomentum(q=q, caution=caution) if has_momentum else None,
        memory="+".join(["1"] * has_momentum + ["M"] * has_taylor),
        source="reconstructed: docs/ddc-asgd.md",
    )


_SUMMARIES = {
    TAYLOR: "Taylor term weighted by each push's own delay",
    MOMENTUM: "momentum weighted by each push's own delay",
    BOTH: "Taylor term and momentum, both weighted by each push's own delay",
}


ALGORITHMS: Mapping[str, Algorithm] = {
    one.name: one
    for one in (
        Algorithm(
            "asgd",
            "every gradient as it arrives",
            source="Dean et al., NIPS 2012",
        ),
        Algorithm(
            "dc-asgd-c",
            "Taylor term of constant strength",
            DelayCompensation(),
            memory="M",
            source="Zheng et al., ICML 2017, arXiv:1609.08326",
        ),
        Algorithm(
            "dc-asgd-a",
            "Taylor term of adaptive strength",
            AdaptiveDelayCompensation(),
            memory="1+M",
            source="Zheng et al., ICML 2017, arXiv:1609.08326",
        ),
        Algorithm(
            "dc-asgdk",
            "momentum set by the number of workers",
            optimizer=FixedDelayMomentum(),
            memory="1",
            source="reconstructed: docs/ddc-asgd.md",
        ),
        ddc_asgd(),
        Algorithm(
            "staleness-aware",
            "divides a gradient by its staleness",
            StalenessAware(),
            source="Zhang et al., IJCAI 2016, arXiv:1511.05950",
        ),
        Algorithm(
            "gap-aware",
            "divides each coordinate by how far it has moved",
            GapAware(),
            memory="1+M",
            source="Barkai et al., ICLR 2020, arXiv:1909.10802",
        ),
        Algorithm(
            "dana-slim",
            "momentum on each worker, which looks ahead",
            optimizer=Sgd(),
            sends=LOOKAHEAD,
            source="Hakimi et al., 2019, arXiv:1907.11612",
        ),
        Algorithm(
            "easgd",
            "workers train copies, pulled towards the shared one",
            optimizer=Elastic(),
            sends=ELASTIC,
            source="Zhang et al., NeurIPS 2015, arXiv:1412.6651",
        ),
    )
}
DEFAULT = "ddc-asgd"


def find(algorithm: str | Algorithm) -> Algorithm:
    """Looks an algorithm up.

    Args:
        algorithm: A name of the table, or an algorithm, which is returned.

    Raises:
        ValueError: The name is not in the table.
    """
    if isinstance(algorithm, Algorithm):
        return algorithm
    if algorithm not in ALGORITHMS:
        raise ValueError(
            f"algorithm must be one of {', '.join(ALGORITHMS)}. "
            f"Received: {algorithm!r}. See nfdt algorithms."
        )
    return ALGORITHMS[algorithm]
