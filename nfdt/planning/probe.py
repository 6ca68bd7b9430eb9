"""What a server's updates cost: measured in this process, after the run.

Not within the run: an update by Keras needs threads of TensorFlow's, and a worker has
none to spare where it opens its variables, in the middle of a step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fdtcore import settings
from nfdt import algorithms
from nfdt.glue.shard_factory import maker
from nfdt.planning.calibration import Costs, quiet_s
from nfdt.protocol import serialization
from nfdt.protocol.controllers import Asynchronous
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service

_CALLS, _LIMIT_S = 20, 1.0  # of one measurement


class Probe(NamedTuple):
    """What worker 0 has found in the run."""

    description: Mapping[str, Any]  # of the model's variables, as for the servers
    size: int  # parameters
    dtype: str
    exchange_s: float  # of one parameter, its update included


def costs(probe: Probe, num_workers: int) -> Costs:
    """Measures the updates that a server of the run has made.

    Args:
        probe: What worker 0 has found.
        num_workers: M.
    """
    # As many threads as the server had; to be said before TensorFlow loads.
    settings.apply(num_workers, os.environ)
    tiny = single(probe.description)
    wire_type = WIRE_TYPES[probe.description["wire"]]
    return Costs(
        params_bytes=probe.size * np.dtype(probe.dtype).itemsize,
        push_bytes=probe.size * wire_type.itemsize,
        exchange_s=probe.exchange_s,
        update_s=_update_s(tiny, 1, probe.dtype, num_workers),
        model_update_s=_update_s(
            probe.description, probe.size, probe.dtype, num_workers
        ),
    )


def single(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the description of one parameter that is trained as the model is."""
    return {**description, "variables": [["one", [1]]], "constraints": []}


def timed_s(call: Callable[[], object]) -> float:
    """Returns the quiet time of some calls, of which the first does not count."""
    call()
    times_s: list[float] = []
    while len(times_s) < _CALLS and sum(times_s) < _LIMIT_S:
        begun_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - begun_s)
    return quiet_s(times_s)


def _update_s(
    description: Mapping[str, Any], size: int, dtype: str, num_workers: int
) -> float:
    algorithm = algorithms.find(description["algorithm"])
    service = Service(num_workers, maker(algorithm, Asynchronous(), num_workers, 1))
    values = np.zeros(size, dtype)
    opening = serialization.pack({**description, "dtype": dtype, "shard": 0}, values)
    service.handle(Message(Kind.OPEN, 0, payload=opening), 0.0)
    push = Message(Kind.PUSH, 0, payload=np.full_like(values, 1e-6))
    return timed_s(lambda: service.handle(push, 0.0))
