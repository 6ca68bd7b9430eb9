"""The factory of shard servers, from a job's options and a group's description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nfdt import resolution
from nfdt.algorithms import Algorithm
from nfdt.protocol import topology
from nfdt.protocol.controllers import Controller
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.server import Maker
from nfdt.protocol.shard_server import ShardServer
from nfdt.rules.blocks import Lanes
from nfdt.rules.corrections import Vector
from nfdt.rules.updates import BlockUpdate, Update

# Python's own part of a block, a seventh of its time, is for one thread at a time.
MAX_LANES = 4


def check(algorithm: Algorithm, config: Mapping[str, Any], num_servers: int) -> None:
    """Refuses rules that several servers cannot share.

    Args:
        algorithm: Algorithm of the job.
        config: The user's optimizer as Keras serialises it.
        num_servers: Number of servers, S.

    Raises:
        ValueError: The correction or the optimizer is not elementwise.
    """
    check_rule(algorithm, num_servers)
    if num_servers > 1 and resolution.plain_sgd(config) is None:
        from nfdt.glue.server_optimizer import is_elementwise

        if not is_elementwise(config):
            raise ValueError(
                "several servers need an optimizer that treats each parameter alone. "
                f"Received: {config['class_name']} with {num_servers} servers, which "
                "needs whole variables or norms. Use one server."
            )


def check_rule(algorithm: Algorithm, num_servers: int) -> None:
    """Refuses an algorithm that several servers cannot share.

    Args:
        algorithm: Algorithm of the job.
        num_servers: Number of servers, S.

    Raises:
        ValueError: Its correction is not elementwise.
    """
    if num_servers > 1 and not algorithm.correction.elementwise:
        raise ValueError(
            "several servers need a rule that treats each parameter alone. Received: "
            f"{algorithm.name}, which scales by norms of the whole gradient, with "
            f"{num_servers} servers. Use one server, or --algorithm dc-asgd-a."
        )


def lanes(threads: int) -> Lanes:
    """Returns who visits the blocks of a server's vectors.

    Args:
        threads: Threads that the server may use.
    """
    number = min(threads, MAX_LANES)
    # NumPy works without Python's lock; the threads start with the first large vector.
    pool = ThreadPoolExecutor(number, thread_name_prefix="lane")
    return Lanes(number, pool.map)


def maker(
    algorithm: Algorithm,
    controller: Controller,
    num_workers: int,
    num_servers: int,
    lanes: Lanes | None = None,
) -> Maker:
    """Returns what makes a shard's server when a worker opens its group.

    Args:
        algorithm: Algorithm of the job.
        controller: Controller that decides who waits.
        num_workers: Number of workers, M.
        num_servers: Number of servers, S.
        lanes: Who visits the blocks of vectors; None is one lane.
    """

    def make(spec: GroupSpec, params: Vector) -> ShardServer:
        config = spec.optimizer
        rate = config["config"].get("learning_rate", 0.0)
        return ShardServer(
            params,
            _update(algorithm, spec, params, num_workers, num_servers, lanes),
            controller,
            num_workers,
            learning_rate=rate if isinstance(rate, int | float) else 0.0,
            schedule=_schedule(config),
            returned=WIRE_TYPES[spec.returned or spec.dtype],
            answered=spec.answered,
        )

    return make


def _update(
    algorithm: Algorithm,
    spec: GroupSpec,
    params: Vector,
    num_workers: int,
    num_servers: int,
    lanes: Lanes | None,
) -> Update:
    made = _unconstrained(algorithm, spec, params, num_workers, num_servers, lanes)
    constraints = spec.constraints
    if not any(constraints):
        return made
    from nfdt.glue.server_optimizer import Constrained

    shapes = [shape for _, shape in spec.variables]
    return Constrained(made, constraints, shapes)


def _unconstrained(
    algorithm: Algorithm,
    spec: GroupSpec,
    params: Vector,
    num_workers: int,
    num_servers: int,
    lanes: Lanes | None,
) -> Update:
    config = spec.optimizer
    rule = resolution.fit_to(algorithm, config, num_workers)
    if rule.optimizer is not None:
        return BlockUpdate(rule.correction, rule.optimizer, params, num_workers, lanes)
    from nfdt.glue.server_optimizer import KerasUpdate

    return KerasUpdate(
        rule.correction,
        config,
        params,
        num_workers,
        variables=spec.variables,
        shard=topology.split(spec.size, num_servers)[spec.shard],
        undecayed=spec.undecayed,
        lanes=lanes,
    )


def _schedule(config: Mapping[str, Any]) -> Callable[[int], float] | None:
    if not isinstance(config["config"].get("learning_rate"), Mapping):
        return None
    from nfdt.glue import learning_rates

    return learning_rates.schedule(config) if learning_rates.is_served(config) else None
