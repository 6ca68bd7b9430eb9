"""A server of NFDT and its workers, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.papers.clients import Clients
from benchmarks.papers.clusters import cluster
from benchmarks.papers.contenders import CONTENDERS
from benchmarks.papers.objective import Objective
from benchmarks.papers.runs import NONE, Run, Shares
from benchmarks.papers.workers import optimizer
from fdtcore.compression.specification import TOP_K, Specification
from nfdt.consistency import parse
from nfdt.glue.shard_factory import maker
from nfdt.protocol.events import Event
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.corrections import Vector
from nfdt.simulation.simulator import Simulator


class Served:
    """The server code of a real job, and simulated workers or clients of it.

    Args:
        run: The run.
        goal: What is trained.
        first: First values, [P].
    """

    def __init__(self, run: Run, goal: Objective, first: Vector):
        algorithm = CONTENDERS[run.algorithm].algorithm
        make = maker(algorithm, parse(run.consistency), run.workers, 1)
        self._service = Service(run.workers, make)
        spec = GroupSpec(
            algorithm=algorithm.name,
            optimizer=optimizer(run),
            variables=tuple((str(i), tuple(s)) for i, s in enumerate(goal.shapes)),
            dtype="float32",
            wire="float32",
            answered=_part(run),
            compression="" if run.compression == NONE else run.compression,
        )
        machines = cluster(run, first.nbytes)
        self.machines: Simulator | Clients
        if run.compression == NONE:
            opening = Message(Kind.OPEN, 0, payload=spec.pack(first))
            self._service.handle(opening, 0.0)
            self.machines = Simulator([self._service], machines, run.seed)
        else:
            self.machines = Clients(self._service, machines, run.seed, spec, first)

    @property
    def params(self) -> Vector:
        """The server's parameters, [P]."""
        return self._service.groups[0].params

    @property
    def shares(self) -> Shares:
        """What the workers have sent and got."""
        return (
            Shares() if isinstance(self.machines, Simulator) else self.machines.shares
        )

    def events(self) -> Sequence[Event]:
        """Returns what the server has noted of each push, once."""
        return self._service.take_records()[0]


def _part(run: Run) -> float:
    """Returns the part of a gradient, and of the parameters, that is sent; 0: all."""
    if run.compression == NONE:
        return 0.0
    chosen = Specification.parse(run.compression)
    if chosen.kind != TOP_K or run.consistency != "asp":
        raise ValueError(
            "a server takes parts of gradients by topk, here under asp. Received: "
            f"{run.compression} under {run.consistency}. Use topk:RATIO under asp."
        )
    return chosen.ratio
