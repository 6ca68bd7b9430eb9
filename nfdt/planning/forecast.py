"""Forecasts of speed and staleness on a cluster, from times alone.

No gradient is computed. Only bytes over bandwidth count, so one parameter for each
server stands for all that it has, and bandwidths are as much less: a thousand workers
and a model of any size take little memory.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from nfdt import algorithms, consistency
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Link
from nfdt.glue.shard_factory import maker
from nfdt.protocol.events import Event
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.workers import Sent

_RULE = "asgd"  # the cheapest; how long updates take is told by the cluster
_TYPE = "float32"
_SGD = {"class_name": "SGD", "config": {"learning_rate": 0.0}}


def forecast(
    cluster: Cluster,
    num_params: int,
    num_pushes: int,
    controller: str = "asp",
    seed: int = 0,
) -> list[Event]:
    """Returns the pushes of a run, by the time of their release.

    Args:
        cluster: What it runs on.
        num_params: Of the model, float32.
        num_pushes: After how many it ends.
        controller: Who waits, as ``--consistency`` takes it.
        seed: Seed of all random numbers.
    """
    num_servers = cluster.servers.count
    members = cluster.members()
    make = maker(
        algorithms.find(_RULE),
        consistency.parse(controller),
        len(members),
        num_servers,
    )
    here = {i for i, member in enumerate(members) if not member.joins_s}
    services = [Service(len(members), make, present=here) for _ in range(num_servers)]
    for server, service in enumerate(services):
        service.handle(_opening(server, num_servers), 0.0)
    simulator = Simulator(services, _thinned(cluster, num_params / num_servers), seed)
    steps = simulator.stream()
    next(steps)
    events: list[Event] = []
    while len(events) < num_pushes:
        steps.send(Sent(np.zeros(num_servers, _TYPE)))
        events += services[0].take_records()[0]
    return events[:num_pushes]


def _opening(server: int, num_servers: int) -> Message:
    spec = GroupSpec(
        algorithm=_RULE,
        optimizer=_SGD,
        variables=(("all", (num_servers,)),),
        dtype=_TYPE,
        wire=_TYPE,
        shard=server,
    )
    return Message(Kind.OPEN, 0, payload=spec.pack(np.zeros(1, _TYPE)))


def _thinned(cluster: Cluster, factor: float) -> Cluster:
    """Returns the cluster on which one parameter takes the time of ``factor``."""

    def thin(link: Link) -> Link:
        return dataclasses.replace(link, bytes_per_s=link.bytes_per_s / factor)

    groups = tuple(
        dataclasses.replace(
            group,
            link=thin(group.link),
            edges=tuple(
                dataclasses.replace(edge, link=thin(edge.link)) for edge in group.edges
            ),
        )
        for group in cluster.groups
    )
    servers = dataclasses.replace(
        cluster.servers,
        bytes_per_s=cluster.servers.bytes_per_s / factor,
        link=thin(cluster.servers.link),
    )
    return dataclasses.replace(cluster, groups=groups, servers=servers)
