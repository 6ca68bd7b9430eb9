"""The simulated network: times of messages, and queues on a server's link.

How the messages of simulated workers come to the services, and answers back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from fdtcore.message_log import MessageLog
from nfdt.clusters.machines import Link, Servers
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.corrections import Vector
from nfdt.simulation.event_queue import EventQueue
from nfdt.telemetry.message_log import described, to_server, to_worker


def transfer_s(link: Link, num_bytes: float, random: np.random.Generator) -> float:
    """Returns the time of one message over one link, seconds."""
    jitter_s = link.jitter_s and link.jitter_s * float(random.exponential())
    return link.latency_s + jitter_s + num_bytes / link.bytes_per_s


def ring_s(links: Sequence[Link], num_bytes: float) -> float:
    """Returns the time in which members reduce a vector in a ring, seconds.

    ::

        2 (n - 1) (latency + b / (n bandwidth)),   of the slowest link

    Args:
        links: Each member's link, n >= 1 of them.
        num_bytes: Size b of the payload, in bytes.

    Source: Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations", JPDC 69 (2009).
    """
    count = len(links)
    part = num_bytes / count
    slowest_s = max(link.latency_s + part / link.bytes_per_s for link in links)
    return 2 * (count - 1) * slowest_s


class Network:
    """The links between workers and servers, both directions by themselves.

    A server's link takes one message after the other, in the order in which they were
    sent; it lets the bytes through as they come, so that one message alone takes the
    time of the slower of the two links.

    Args:
        servers: The servers of the cluster: count, speed and link.
        links: Links of the workers, by index.
        random: Generator that draws the jitter.
    """

    def __init__(
        self, servers: Servers, links: Sequence[Link], random: np.random.Generator
    ):
        self._servers, self._links, self._random = servers, links, random
        self._in_free_s = [0.0] * servers.count  # when the link to it is free
        self._out_free_s = [0.0] * servers.count
        self._core_free_s = [0.0] * servers.count  # when its processor is

    def arrives_s(
        self, link: Link, server: int, num_bytes: float, now_s: float
    ) -> float:
        """Returns when a message that a worker sends now is on its server."""
        if self._servers.allreduce:
            return now_s  # what is brought to the ring is sent within it
        return self._passes_s(self._in_free_s, link, server, num_bytes, now_s)

    def returns_s(
        self, link: Link, server: int, num_bytes: float, now_s: float
    ) -> float:
        """Returns when a message that a server sends now is on its worker."""
        if self._servers.allreduce:
            return now_s + ring_s(self._links, num_bytes)
        return self._passes_s(self._out_free_s, link, server, num_bytes, now_s)

    def updated_s(self, server: int, num_bytes: float, now_s: float) -> float:
        """Returns when a server has dealt with a gradient that has arrived now."""
        begins_s = max(now_s, self._core_free_s[server])
        takes_s = self._servers.overhead_s + num_bytes / self._servers.bytes_per_s
        self._core_free_s[server] = begins_s + takes_s
        return begins_s + takes_s

    def _passes_s(
        self,
        free_s: list[float],
        link: Link,
        server: int,
        num_bytes: float,
        now_s: float,
    ) -> float:
        own = self._servers.link
        delay_s = transfer_s(own, 0, self._random) + transfer_s(link, 0, self._random)
        free_s[server] = max(free_s[server], now_s) + num_bytes / own.bytes_per_s
        # A worker's link is shared by what it exchanges with all servers at once.
        own_s = num_bytes * self._servers.count / link.bytes_per_s
        return delay_s + max(now_s + own_s, free_s[server])


_OVER_THE_NETWORK = (Kind.PARAMS, Kind.REFUSED, Kind.PACE)


class MessageCarrier:
    """Carries messages in virtual time.

    Args:
        services: State machine of each server process, by server index.
        events: Queue of events, where arrivals are planned.
        network: Says when a message arrives, by links and servers.
        links: Each member's own link to the servers.
        wire: Type of gradients on the way; empty: that of the parameters.
        deliver: Called with a server and its answer, when it has come.
        log: Where a line for each message goes, when it is sent; None for nowhere.
    """

    def __init__(
        self,
        services: Sequence[Service],
        events: EventQueue,
        network: Network,
        links: Sequence[Link],
        wire: str,
        deliver: Callable[[int, Message], None],
        log: MessageLog | None = None,
    ):
        self.services, self._events, self._network = services, events, network
        self._links, self._wire, self._deliver = links, wire, deliver
        self._log = log
        self.group = -1  # of variables; -1: none is opened yet

    def open(self) -> None:
        """Finds the group of variables, which a first worker has opened.

        Raises:
            ValueError: The model has several groups of variables.
        """
        self.group = only_group(self.services[0])
        shards = [service.groups[self.group].params for service in self.services]
        self._cuts = np.cumsum([shard.size for shard in shards])[:-1]
        self._shards = shards
        controller = self.services[0].groups[self.group].controller
        self.paces, self.monitors = controller.paces, controller.monitors
        self.wire_type = np.dtype(WIRE_TYPES[self._wire or str(shards[0].dtype)])
        size = sum(shard.size for shard in shards)
        self.push_bytes = size * self.wire_type.itemsize
        spec = self.services[0].specs[self.group]
        returned = WIRE_TYPES[spec.returned or spec.dtype]
        self.returned_bytes = size * returned.itemsize  # of what answers a push

    def tell(self, message: Message) -> None:
        """Gives server 0 a message that takes no time; delivers what it answers."""
        if self._log:
            self._note(to_server(message, 0), message)
        self._handle(0, message)

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
        """Reports a local step of a worker to server 0."""
        self._send(0, message, 0)

    def pull(self, member: int) -> None:
        """Asks all servers for the newest parameters."""
        for server in range(len(self.services)):
            self._send(server, Message(Kind.PULL, member, self.group), 0)

    def _send(self, server: int, message: Message, num_bytes: int) -> None:
        arrives_s = self._network.arrives_s(
            self._links[message.worker], server, num_bytes, self._events.now_s
        )
        if self._log:
            self._note(to_server(message, server), message, num_bytes, arrives_s)
        self._events.plan(arrives_s, self._arrive, server, message)

    def _arrive(self, server: int, message: Message) -> None:
        if message.kind is not Kind.PUSH:
            self._handle(server, message)
            return
        num_bytes = self._shards[server].nbytes
        done_s = self._network.updated_s(server, num_bytes, self._events.now_s)
        self._events.plan(done_s, self._handle, server, message)

    def _handle(self, server: int, message: Message) -> None:
        answers = self.services[server].handle(message, self._events.now_s)
        self.carry(server, answers)

    def _note(
        self, way: str, message: Message, num_bytes: int = 0, until_s: float = math.nan
    ) -> None:
        """Logs a message that is sent now.

        Args:
            way: Between whom.
            message: From a worker or from a server.
            num_bytes: Size of its payload, bytes; 0 for none.
            until_s: When it arrives; NaN for one that takes no time.
        """
        assert self._log is not None
        took_s = until_s - self._events.now_s
        self._log.note(way, *described(message), num_bytes=num_bytes, took_s=took_s)

    def carry(self, server: int, answers: Sequence[Message]) -> None:
        """Brings a server's answers to their workers."""
        for answer in answers:
            if answer.kind not in _OVER_THE_NETWORK:
                if self._log:
                    self._note(to_worker(answer, server), answer)
                self._deliver(server, answer)
                continue
            has_params = answer.kind is Kind.PARAMS
            num_bytes = answer.payload.nbytes if has_params else 0
            comes_s = self._network.returns_s(
                self._links[answer.worker], server, num_bytes, self._events.now_s
            )
            if self._log:
                self._note(to_worker(answer, server), answer, num_bytes, comes_s)
            self._events.plan(comes_s, self._deliver, server, answer)


def only_group(service: Service) -> int:
    """Returns the group of variables that a simulated server has.

    Raises:
        ValueError: The model has several groups of variables.
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
