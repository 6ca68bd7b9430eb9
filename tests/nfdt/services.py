"""A service of one kind of group, and the message that opens it."""

from __future__ import annotations

import dataclasses

import numpy as np

from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from tests.nfdt.rules import server

SPEC = GroupSpec(
    algorithm="asgd",
    optimizer={"class_name": "SGD", "config": {"momentum": 0.9}},
    variables=(("dense/kernel", (2, 2)), ("dense/bias", (1,))),
    dtype="float32",
    wire="float32",
)
START = np.arange(5, dtype=np.float32)


def service(num_workers=2, controller=None, **more):
    """Returns a service that no worker has opened yet."""

    def make(spec, params):
        assert spec.variables == SPEC.variables
        controllers = {} if controller is None else {"controller": controller}
        return server("asgd momentum", params, num_workers, **controllers)

    return Service(num_workers, make, **more)


def opening(worker, values=START, group=0, **changes):
    """Returns what opens a group, with changes of its spec."""
    payload = dataclasses.replace(SPEC, **changes).pack(values)
    return Message(Kind.OPEN, worker, group, payload=payload)
