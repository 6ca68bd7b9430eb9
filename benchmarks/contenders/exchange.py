"""One worker and one server: the time of an exchange beside a plain MPI round trip.

Started under mpirun on two ranks. Both are what ``nfdt run`` starts, without Keras; the
server also echoes plain messages, so that both are measured in one job. Prints one JSON
line with the seconds of every round.
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.timing import median_s
from fdtcore.process import Process
from nfdt.cluster.mpi import Peers, start
from nfdt.cluster.mpi_transport import MpiTransport
from nfdt.cluster.server_loop import ServerLoop
from nfdt.options import Options
from nfdt.protocol.client import ShardedVector
from nfdt.protocol.gradients import Dense
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.corrections import NoCorrection, Vector
from nfdt.rules.updates import GradientSums, Late, is_finite

RULE = "dc-asgd-c"  # of the exchanges with the server's update
SGD = {"class_name": "SGD", "config": {"learning_rate": 1e-6}}
WARM_UP = 2  # exchanges that do not count: first touch of every buffer
# None of nfdt's own:
ORDER_TAG, PLAIN_TAG = 100, 101


class Nothing:
    """An update that does nothing, so that what is left is the exchange."""

    correction = NoCorrection()

    def measure(self, params: Vector, late: Late) -> GradientSums:
        """Look whether the gradient is finite, as a server does with each."""
        return GradientSums(is_finite(late.gradient), np.zeros(0))

    def apply(
        self, params: Vector, *args: Any, copies: Sequence[Vector] = (), **options: Any
    ) -> None:
        """Leave the parameters; copy them for the workers."""
        for copy in copies:
            np.copyto(copy, params)


class OrderedWire:
    """A server's way to its workers that also takes this benchmark's orders.

    Args:
        peers: This process's end of the job.
        service: What the server does; orders change it.
        inner: The way of all other messages.
    """

    def __init__(self, peers: Peers, service: Service, inner: Any) -> None:
        self.peers, self.service, self.inner = peers, service, inner

    def receive(self) -> Message | None:
        """Carry out orders while there are any; else receive one of nfdt's messages."""
        comm = self.peers.comm
        while comm.Iprobe(0, ORDER_TAG):
            order = np.empty(2, np.int64)
            comm.Recv(order, 0, ORDER_TAG)
            subject, trips = order.tolist()
            if trips:
                echo(comm, size=subject, trips=trips)
            else:
                self.service.groups[subject].update = Nothing()
                comm.Send(order, 0, ORDER_TAG)
        return self.inner.receive()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def echo(comm: Any, size: int, trips: int) -> None:
    """Receive a vector and send it back, a number of times."""
    vector = np.zeros(size, np.float32)
    for _ in range(trips):
        comm.Recv(vector, 0, PLAIN_TAG)
        comm.Send(vector, 0, PLAIN_TAG)


def serve(peers: Peers) -> None:
    """Serve until the worker has ended."""
    serving = ServerLoop(peers, Options(algorithm=RULE), None)
    serving.wire = OrderedWire(peers, serving.service, serving.wire)
    serving.run()


class Worker:
    """The measuring side.

    Args:
        peers: This process's end of the job.
    """

    def __init__(self, peers: Peers) -> None:
        self.comm, self.server = peers.comm, peers.roles.server_rank(0)
        self.transport = MpiTransport(peers)
        self.groups = 0

    def open(self, size: int, *, updates: bool) -> ShardedVector:
        """Open a group of variables on the server.

        Args:
            size: Parameters.
            updates: Whether the server's rule acts on its gradients.
        """
        index, self.groups = self.groups, self.groups + 1
        vector = ShardedVector(self.transport, 0, index, [size], "float32", "float32")
        spec = GroupSpec(RULE, SGD, (("weights", (size,)),), "float32", "float32")
        vector.open(spec, np.zeros(size, np.float32))
        if not updates:
            order = np.array([index, 0])
            self.comm.Send(order, self.server, ORDER_TAG)
            self.comm.Recv(order, self.server, ORDER_TAG)  # it is done
        return vector

    def plain_s(self, vector: Vector, steps: int) -> float:
        """Return the median time of sending a vector there and back."""
        into = np.zeros_like(vector)
        order = np.array([vector.size, WARM_UP + steps])
        self.comm.Send(order, self.server, ORDER_TAG)

        def trip() -> None:
            self.comm.Send(vector, self.server, PLAIN_TAG)
            self.comm.Recv(into, self.server, PLAIN_TAG)

        median_s(trip, WARM_UP)
        return median_s(trip, steps)

    def measure(self, size: int, rounds: int, steps: int) -> dict[str, Any]:
        """Return the seconds of each round, for a number of parameters."""
        vector = np.random.default_rng(0).standard_normal(size, np.float32)
        gradients = [Dense(0, vector)]
        exchanging = self.open(size, updates=False)
        updating = self.open(size, updates=True)
        calls = {
            "exchange": lambda: median_s(lambda: exchanging.push(gradients), steps),
            "updating": lambda: median_s(lambda: updating.push(gradients), steps),
            "plain": lambda: self.plain_s(vector, steps),
        }
        for group in (exchanging, updating):
            median_s(lambda group=group: group.push(gradients), WARM_UP)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                seconds[name].append(call())
        return {"parameters": size, **seconds}


def main() -> None:
    """Serve on one rank; measure and print on the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--parameters", type=int, nargs="+", required=True)
    parser.add_argument("--steps", type=int, nargs="+", required=True)
    options = parser.parse_args()
    start(Process.from_environ(os.environ), os.environ)
    peers = Peers(num_servers=1)
    if peers.roles.is_server(peers.rank):
        serve(peers)
        return
    worker = Worker(peers)
    found = [
        worker.measure(size, options.rounds, steps)
        for size, steps in zip(options.parameters, options.steps, strict=True)
    ]
    worker.transport.post(0, Message(Kind.BYE, 0))
    worker.transport.wait_for_others()
    print(json.dumps({"exchange": found}), flush=True)
    peers.part()


if __name__ == "__main__":
    main()
