"""The resolution of an algorithm for the user's optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdtcore.validation import demand
from nfdt.algorithms import ELASTIC, LOOKAHEAD, Algorithm
from nfdt.rules.averaging import Averaging
from nfdt.rules.corrections import Correction, NoCorrection
from nfdt.rules.optimizers import Optimizer, Sgd


@dataclass(frozen=True)
class Rule:
    """An algorithm fitted to the user's optimizer.

    Args:
        correction: What is done to each gradient.
        optimizer: What the server does with it; None where Keras runs the user's own.
        momentum: The worker's own, for what it sends; 0 for none.
    """

    correction: Correction
    optimizer: Optimizer | None
    momentum: float = 0.0


def fit_to(algorithm: Algorithm, config: Mapping[str, Any], num_workers: int) -> Rule:
    """Fits an algorithm to the user's optimizer.

    Momentum is in one place only. Plain SGD hands its momentum to a rule that has
    momentum of its own: in DC-ASGDK, and in DDC-ASGD with its momentum term, it is
    what is kept without delay (``nfdt.rules.averaging``), DANA-Slim takes it to the
    workers. Any other optimizer keeps its own, and of DDC-ASGD the Taylor term alone
    applies. With one worker nothing is late, and the user's optimizer runs as it is.

    Args:
        algorithm: Algorithm of the job.
        config: The user's optimizer as Keras serialises it.
        num_workers: Number of workers, M.

    Raises:
        ValueError: The algorithm does not go with the optimizer.
    """
    own = plain_sgd(config)
    if algorithm.sends == ELASTIC:
        return Rule(algorithm.correction, algorithm.optimizer)
    if algorithm.optimizer is None or runs_users(algorithm, num_workers):
        return Rule(algorithm.correction, own)
    momentum = own.momentum if own else 0.0
    if algorithm.sends == LOOKAHEAD:
        demand(
            momentum > 0,
            f"{algorithm.name} takes its momentum from the optimizer",
            "Use SGD(learning_rate, momentum=0.9).",
            optimizer=describe(config),
        )
        return Rule(algorithm.correction, algorithm.optimizer, momentum)
    demand(
        own is not None or not isinstance(algorithm.correction, NoCorrection),
        f"{algorithm.name} is itself a momentum method and needs plain SGD",
        "Use SGD, or --algorithm dc-asgd-a.",
        optimizer=describe(config),
    )
    return Rule(algorithm.correction, _averaging(algorithm.optimizer, own))


def runs_users(algorithm: Algorithm, num_workers: int) -> bool:
    """Whether the user's optimizer makes the updates, with the momentum that it has.

    Args:
        algorithm: Algorithm of the job.
        num_workers: Number of workers, M.
    """
    return algorithm.optimizer is None or num_workers == 1


def plain_sgd(config: Mapping[str, Any]) -> Sgd | None:
    """Returns the server's own SGD where the user's is one without extras."""
    values = config["config"]
    extras = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema")
    more = ("loss_scale_factor", "gradient_accumulation_steps")
    if config["class_name"] != "SGD" or any(values.get(n) for n in (*extras, *more)):
        return None
    return Sgd(float(values.get("momentum", 0.0)), bool(values.get("nesterov", False)))


def describe(config: Mapping[str, Any]) -> str:
    """Names an optimizer and its momentum, for messages."""
    momentum = config["config"].get("momentum")
    inside = "" if momentum is None else f"momentum={momentum}"
    return f"{config['class_name']}({inside})"


def _averaging(optimizer: Optimizer, own: Sgd | None) -> Optimizer | None:
    """Gives the user's momentum to an optimizer that averages."""
    if own is None or not isinstance(optimizer, Averaging):
        return optimizer if own else None
    return dataclasses.replace(optimizer, momentum=own.momentum, nesterov=own.nesterov)
