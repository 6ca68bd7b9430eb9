"""How the messages of simulated workers come to the services, and answers back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from nfdt.clusters.machines import Link
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.corrections import Vector
from nfdt.simulation.event_queue import Agenda
from nfdt.simulation.network import Network

_OVER_THE_NETWORK = (Kind.PARAMS, Kind.REFUSED, Kind.PACE)


class Post:
    """Carries messages in virtual time.

    Args:
        services: The servers.
        agenda: The events.
        network: The links.
        links: Each member's own link to the servers.
        wire: Type of gradients on the way; empty: that of the parameters.
        deliver: Called with a server and its answer, when it has come.
    """

    def __init__(
        self,
        services: Sequence[Service],
        agenda: Agenda,
        network: Network,
        links: Sequence[Link],
        wire: str,
        deliver: Callable[[int, Message], None],
    ):
        self.services, self._agenda, self._network = services, agenda, network
        self._links, self._wire, self._deliver = links, wire, deliver
        self.group = -1  # of variables; -1: none is opened yet

    def open(self) -> None:
        """Finds the group of variables, which a first worker has opened.

        Raises:
            ValueError: There are several.
        """
        self.group = only_group(self.services[0])
        shards = [service.groups[self.group].params for service in self.services]
        self._cuts = np.cumsum([shard.size for shard in shards])[:-1]
        self._shards = shards
        controller = self.services[0].groups[self.group].controller
        self.paces, self.monitors = controller.paces, controller.monitors
        self.wire_type = np.dtype(WIRE_TYPES[self._wire or str(shards[0].dtype)])
        self.push_bytes = sum(shard.size for shard in shards) * self.wire_type.itemsize

    def tell(self, message: Message) -> None:
        """Gives server 0 a message that takes no time; delivers what it answers."""
        self._handle(0, message)

    def tell_all(self, message: Message) -> None:
        """Gives all servers a message that takes no time."""
        for server in range(len(self.services)):
            self._handle(server, message)

    def push(self, message: Message, vector: Vector) -> None:
        """Sends each server its part of a gradient.

        Args:
            message: What is said of it.
            vector: It, [P], given away.
        """
        own = vector.astype(self.wire_type).astype(self._shards[0].dtype, copy=False)
        for server, part in enumerate(np.split(own, self._cuts)):
            num_bytes = part.size * self.wire_type.itemsize
            self._send(server, dataclasses.replace(message, payload=part), num_bytes)

    def step(self, message: Message) -> None:
        """Tells server 0 of a step of a worker's own."""
        self._send(0, message, 0)

    def pull(self, member: int) -> None:
        """Asks all servers for the newest parameters."""
        for server in range(len(self.services)):
            self._send(server, Message(Kind.PULL, member, self.group), 0)

    def _send(self, server: int, message: Message, num_bytes: int) -> None:
        arrives_s = self._network.arrives_s(
            self._links[message.worker], server, num_bytes, self._agenda.now_s
        )
        self._agenda.plan(arrives_s, self._arrive, server, message)

    def _arrive(self, server: int, message: Message) -> None:
        if message.kind is not Kind.PUSH:
            self._handle(server, message)
            return
        num_bytes = self._shards[server].nbytes
        done_s = self._network.updated_s(server, num_bytes, self._agenda.now_s)
        self._agenda.plan(done_s, self._handle, server, message)

    def _handle(self, server: int, message: Message) -> None:
        answers = self.services[server].handle(message, self._agenda.now_s)
        self.carry(server, answers)

    def carry(self, server: int, answers: Sequence[Message]) -> None:
        """Brings a server's answers to their workers."""
        for answer in answers:
            if answer.kind not in _OVER_THE_NETWORK:
                self._deliver(server, answer)
                continue
            has_params = answer.kind is Kind.PARAMS
            num_bytes = self._shards[server].nbytes if has_params else 0
            comes_s = self._network.returns_s(
                self._links[answer.worker], server, num_bytes, self._agenda.now_s
            )
            self._agenda.plan(comes_s, self._deliver, server, answer)


def only_group(service: Service) -> int:
    """Returns the group of variables that a simulated server has.

    Raises:
        ValueError: There are several.
    """
    groups = service.groups
    if len(groups) != 1:
        raise ValueError(
            "a simulated script must train one model by one optimizer, in steps that "
            f"train all its variables. Received: {len(groups)} sets of variables. "
            "Simulate each in a script of its own."
        )
    (group,) = groups
    return group
