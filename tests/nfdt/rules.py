"""The rows that properties run over, and a shard's server for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from nfdt import algorithms
from nfdt.algorithms import Algorithm
from nfdt.protocol.controllers import (
    Asynchronous,
    Backup,
    BulkSynchronous,
    Controller,
    DynamicSynchronous,
    LocalSteps,
    Partial,
    StaleSynchronous,
)
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_server import ShardServer
from nfdt.resolution import fit_to
from nfdt.rules.updates import BlockUpdate

CONTROLLERS: dict[str, Controller] = {
    "asp": Asynchronous(),
    "bsp": BulkSynchronous(),
    "ssp0": StaleSynchronous(max_lead=0),
    "ssp1": StaleSynchronous(max_lead=1),
    "ssp3": StaleSynchronous(max_lead=3),
    "partial": Partial(0.6),
    "partial keep": Partial(0.6, keeps_late=True),
    "backup": Backup(1),
    "backup keep": Backup(1, keeps_late=True),
    "local": LocalSteps(3),
    "dsp": DynamicSynchronous(stale=3, weak=2),
    "dsp fixed": DynamicSynchronous(stale=3, weak=2, fixed=True),
}
_BOTH = algorithms.ddc_asgd(terms="momentum+taylor")
# Name -> an algorithm, and the momentum and nesterov of the user's SGD.
ROWS: dict[str, tuple[Algorithm, float, bool]] = {
    **{
        name: (algorithm, 0.9 if name == "dana-slim" else 0.0, False)
        for name, algorithm in algorithms.ALGORITHMS.items()
    },
    "asgd momentum": (algorithms.find("asgd"), 0.9, False),
    "asgd nesterov": (algorithms.find("asgd"), 0.9, True),
    "dc-asgd-a momentum": (algorithms.find("dc-asgd-a"), 0.9, False),
    "dc-asgdk momentum": (algorithms.find("dc-asgdk"), 0.8, False),
    "ddc-asgd sgd momentum": (algorithms.find("ddc-asgd"), 0.9, False),
    "ddc-asgd momentum": (algorithms.ddc_asgd(terms="momentum"), 0.0, False),
    "ddc-asgd both": (_BOTH, 0.0, False),
    "ddc-asgd both, sgd momentum": (_BOTH, 0.8, False),
    "ddc-asgd both, sgd nesterov": (_BOTH, 0.8, True),
    "ddc-asgd both, q": (algorithms.ddc_asgd(terms="momentum+taylor", q=5), 0.0, False),
}
ELEMENTWISE = [name for name, row in ROWS.items() if row[0].correction.elementwise]


def sgd(momentum: float = 0.0, nesterov: bool = False, **more: Any) -> dict[str, Any]:
    """Returns an SGD as Keras serialises it."""
    config = {"learning_rate": 0.1, "momentum": momentum, "nesterov": nesterov}
    return {"class_name": "SGD", "config": {**config, **more}}


def update(row: str, params: Any, num_workers: int = 3) -> BlockUpdate:
    """Returns the update of a row for a shard."""
    algorithm, momentum, nesterov = ROWS[row]
    rule = fit_to(algorithm, sgd(momentum, nesterov), num_workers)
    assert rule.optimizer is not None
    return BlockUpdate(rule.correction, rule.optimizer, params, num_workers)


def server(
    row: str,
    params: Any,
    num_workers: int = 3,
    controller: Controller = CONTROLLERS["asp"],
    rate: float = 0.1,
) -> ShardServer:
    """Returns a shard's server, which has copied the parameters."""
    params = np.array(params)
    rule = update(row, params, num_workers)
    made = ShardServer(params, rule, controller, num_workers, rate)
    for worker in range(num_workers):
        made.handle(Message(Kind.PULL, worker), 0.0)
    return made


def push(made: ShardServer, worker: int, gradient: Any, **fields: Any) -> list[Message]:
    """Pushes a gradient at time 0."""
    message = Message(Kind.PUSH, worker, payload=gradient, **fields)
    return made.handle(message, 0.0)


def schedule(seed: int, pushes: int, size: int, num_workers: int = 3) -> list[Any]:
    """Returns (worker, gradient), by a seed; the workers come irregularly."""
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(num_workers))
    workers = generator.choice(num_workers, size=pushes, p=weights)
    return [(int(w), generator.normal(size=size)) for w in workers]
