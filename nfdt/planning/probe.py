"""The cost of a server's updates, measured in this process after the run.

Not within the run: an update by Keras needs threads of TensorFlow's, and a worker has
none to spare where it opens its variables, in the middle of a step.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fdtcore import settings
from nfdt import algorithms
from nfdt.glue.shard_factory import lanes, maker
from nfdt.planning.calibration import Costs, quiet_s
from nfdt.protocol.controllers import Asynchronous
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service

_CALLS, _LIMIT_S = 20, 1.0  # of one measurement


class Probe(NamedTuple):
    """What worker 0 has found in the run."""

    spec: GroupSpec  # of the model's variables, as for the servers
    exchange_s: float  # of one parameter, its update included

    def to_json(self) -> str:
        """Returns it as text."""
        return json.dumps({**self._asdict(), "spec": self.spec.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Probe:
        """Returns the probe of which :meth:`to_json` made this text.

        Raises:
            ValueError: The text is of something else.
        """
        found = json.loads(text)
        return cls(GroupSpec.from_json(found["spec"]), found["exchange_s"])


def costs(probe: Probe, num_workers: int) -> Costs:
    """Measures the updates that a server of the run has made.

    Args:
        probe: What worker 0 has found.
        num_workers: Number of workers, M.
    """
    # As many threads as the server had; to be said before TensorFlow loads.
    settings.apply(num_workers, os.environ)
    spec = probe.spec
    return Costs(
        params_bytes=spec.size * WIRE_TYPES[spec.dtype].itemsize,
        push_bytes=spec.size * WIRE_TYPES[spec.wire].itemsize,
        returned_bytes=spec.size * WIRE_TYPES[spec.returned or spec.dtype].itemsize,
        exchange_s=probe.exchange_s,
        update_s=_update_s(single(spec), num_workers),
        model_update_s=_update_s(spec, num_workers),
    )


def single(spec: GroupSpec) -> GroupSpec:
    """Returns the spec of one parameter that is trained as the model is."""
    return dataclasses.replace(spec, variables=(("one", (1,)),), constraints=())


def timed_s(call: Callable[[], object]) -> float:
    """Returns the quiet time of some calls, of which the first does not count."""
    call()
    times_s: list[float] = []
    while len(times_s) < _CALLS and sum(times_s) < _LIMIT_S:
        begun_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - begun_s)
    return quiet_s(times_s)


def _update_s(spec: GroupSpec, num_workers: int) -> float:
    algorithm = algorithms.find(spec.algorithm)
    threads = settings.server_threads(num_workers, 1, settings.available_cores())
    make = maker(algorithm, Asynchronous(), num_workers, 1, lanes(threads))
    service = Service(num_workers, make)
    values = np.zeros(spec.size, WIRE_TYPES[spec.dtype])
    service.handle(Message(Kind.OPEN, 0, payload=spec.pack(values)), 0.0)
    push = Message(Kind.PUSH, 0, payload=np.full_like(values, 1e-6))
    return timed_s(lambda: service.handle(push, 0.0))
