"""What an update costs the server, beside copying as many bytes; in this process."""

from collections.abc import Callable

import numpy as np

from benchmarks.costs import Measured
from benchmarks.timing import median_s
from nfdt import algorithms
from nfdt.glue import shard_factory
from nfdt.protocol.controllers import Asynchronous
from nfdt.protocol.group_spec import GroupSpec
from nfdt.rules.corrections import Push, Vector
from nfdt.rules.updates import Late

RULES = ("asgd", "dc-asgd-c", "ddc-asgd")
WORKERS = 2
RATE = 1e-6
SGD = {"class_name": "SGD", "config": {"learning_rate": RATE}}


def measure(size: int, rounds: int, steps: int) -> list[Measured]:
    """Measure each rule's update in turn with a copy, round by round.

    Args:
        size: Parameters.
        rounds: How often each has its turn.
        steps: Calls of one turn, of whose times the median counts.
    """
    generator = np.random.default_rng(0)
    pulled, gradient = generator.standard_normal((2, size), np.float32)
    into = np.zeros_like(pulled)
    calls: dict[str, Callable[[], object]] = {
        "copyto": lambda: np.copyto(into, pulled),
        **{rule: _update(rule, pulled, gradient) for rule in RULES},
    }
    for call in calls.values():
        call()  # touches every array
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(median_s(call, steps))
    copy_s = tuple(seconds.pop("copyto"))
    return [
        Measured(name, size, tuple(found), copy_s) for name, found in seconds.items()
    ]


def _update(rule: str, pulled: Vector, gradient: Vector) -> Callable[[], object]:
    """Return a call that applies a gradient that is one update late."""
    make = shard_factory.maker(
        algorithms.find(rule), Asynchronous(), WORKERS, num_servers=1
    )
    params = pulled + np.float32(1e-3)  # it has moved since the pull
    spec = GroupSpec(rule, SGD, (("all", (params.size,)),), "float32", "float32")
    update = make(spec, params).update
    late = Late(Push(worker=0, staleness=1, learning_rate=RATE), gradient, pulled)
    return lambda: update.apply(params, [late], RATE)
