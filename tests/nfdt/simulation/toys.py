"""Small services and clusters, and gradients that need no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from nfdt import algorithms, consistency
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Change, Edge, Link, Servers, WorkerGroup
from nfdt.clusters.step_times import Constant, Duration
from nfdt.glue.shard_factory import maker
from nfdt.protocol import topology
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.workers import Sent, Steps, Wanted

SIZE = 6


def drive(steps: Steps, find: Callable[[Wanted], Sent]) -> None:
    """Runs steps to their end.

    Args:
        steps: As a simulator yields them.
        find: From what is wanted to what is sent.
    """
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(find(wanted))
    except StopIteration:
        pass


def services(
    cluster: Cluster,
    algorithm: str = "asgd",
    form: str = "asp",
    rate: float = 0.05,
    size: int = SIZE,
    wire: str = "float64",
) -> list[Service]:
    """Opened servers of a cluster, with a vector of ones; all travels as ``wire``."""
    members, count = cluster.members(), cluster.servers.count
    controller = consistency.parse(form)
    make = maker(algorithms.find(algorithm), controller, len(members), count)
    here = [index for index, member in enumerate(members) if not member.joins_s]
    made = [Service(len(members), make, present=here) for _ in range(count)]
    config = {"learning_rate": rate, "momentum": 0.0, "nesterov": False, "name": "SGD"}
    optimizer = {"class_name": "SGD", "module": "keras.optimizers", "config": config}
    for server, (shard, service) in enumerate(
        zip(topology.split(size, count), made, strict=True)
    ):
        spec = GroupSpec(
            algorithm=algorithm,
            optimizer={**optimizer, "registered_name": None},
            variables=(("w", (size,)),),
            dtype="float64",
            wire=wire,
            returned=wire,
            shard=server,
        )
        payload = spec.pack(np.ones(shard.size))
        service.handle(Message(Kind.OPEN, here[0], payload=payload), 0.0)
    return made


def cluster(
    steps: Sequence[Duration | float],
    link: Link = Link(),  # noqa: B008
    servers: Servers = Servers(),  # noqa: B008
    changes: Sequence[Change] = (),
    edges: Sequence[Edge] = (),
) -> Cluster:
    """A worker for each time of a step; under edge nodes they are one group."""
    made = [Constant(s) if isinstance(s, float) else s for s in steps]
    if edges:
        return Cluster(
            (WorkerGroup(len(made), made[0], link, 0.0, tuple(edges)),), servers
        )
    groups = tuple(WorkerGroup(1, step, link) for step in made)
    return Cluster(groups, servers, tuple(changes))


class Job:
    """A job of some epochs; what it has wanted is kept.

    Every vector is the parameters that were pulled, plus the number of the batch over
    1000, so that what is pushed tells where it was computed and for which batch.
    """

    def __init__(
        self,
        cluster: Cluster,
        algorithm: str = "asgd",
        form: str = "asp",
        *,
        seed: int = 0,
        epochs: int = 1,
        batches: int = 40,
        wire: str = "float64",
    ):
        self.services = services(cluster, algorithm, form, wire=wire)
        self.simulator = Simulator(self.services, cluster, seed, wire)
        self.wanted: list[Wanted] = []
        self.at_s: list[float] = []  # the times of them
        self._paces = consistency.parse(form).paces
        for epoch in range(epochs):
            drive(self.simulator.epoch(epoch, batches), self._find)
        self.events = self.services[0].take_records()[0]

    def _find(self, wanted: Wanted) -> Sent:
        if wanted.submits:
            return Sent(np.full(SIZE, 0.01))
        self.wanted.append(wanted)
        self.at_s.append(self.simulator.now_s)
        loss = float(len(self.wanted))
        if self._paces:
            return Sent(None, loss)
        params = np.ones(SIZE) if wanted.params is None else wanted.params
        return Sent(params + wanted.number / 1000, loss)

    @property
    def params(self) -> np.ndarray:
        """The shared parameters at the end."""
        (group,) = self.services[0].groups
        return np.concatenate([s.groups[group].params for s in self.services])

    def numbers(self, epoch: int = 0) -> list[int]:
        """The batches that were trained on in an epoch, in order of their numbers."""
        return sorted(w.number for w in self.wanted if w.epoch == epoch)

    def staleness(self) -> float:
        """Mean over all pushes."""
        return float(np.mean([event.staleness for event in self.events]))


INFINITE = math.inf
