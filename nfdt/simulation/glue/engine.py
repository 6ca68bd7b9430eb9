"""The engine of a simulated job: one process plays all workers, in virtual time."""

from __future__ import annotations

import dataclasses
import functools
import time

import keras

from fdtcore.process import Process
from fdtcore.validation import demand
from nfdt import algorithms
from nfdt.clusters.cluster import Cluster
from nfdt.glue.engine import ParameterServerEngine
from nfdt.glue.shard_factory import maker
from nfdt.options import Options
from nfdt.protocol.events import Event
from nfdt.protocol.server import Service
from nfdt.protocol.topology import Roles
from nfdt.protocol.transport import LEAVE_S
from nfdt.simulation import supported
from nfdt.simulation.glue.worker_state import PlacementOfEach, PushPullOfEach
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.transport import VirtualTransport
from nfdt.telemetry.recorder import Recording


class SimulatedEngine(ParameterServerEngine):
    """Trains as all workers of a cluster would, one step after the other.

    Moving statistics and metrics are those of all steps in their order.

    Args:
        options: The user's choices; the cluster says how many servers there are.
        cluster: What the job runs on.
        seed: Of all chance in the cluster.

    Raises:
        ValueError: An option is of no use in a simulation, or the algorithm cannot be
            shared by the cluster's servers.
    """

    def __init__(self, options: Options, cluster: Cluster, seed: int = 0):
        supported.check(options, cluster)  # as the user gave them
        demand(
            not options.compression,
            "a simulation sends gradients whole",
            "Use a type, such as bfloat16.",
            wire=options.wire,
        )
        options = dataclasses.replace(options, servers=cluster.servers.count)
        count = len(cluster.members())
        roles = Roles(count + options.servers, options.servers)
        make = maker(
            algorithms.find(options.algorithm),
            options.controller,
            count,
            options.servers,
        )
        here = {i for i, member in enumerate(cluster.members()) if not member.joins_s}
        services = [Service(count, make, present=here) for _ in range(options.servers)]
        self.recording = Recording(services[0], options, roles, server=0)
        self.events: list[Event] = []  # pushes, by the time of their release
        wire = "" if options.wire == "own" else options.wire
        logs = options.log == "messages"
        self.simulator = Simulator(services, cluster, seed, wire, logs_messages=logs)
        virtual = VirtualTransport(self.simulator, services, self._watch)
        placement = PlacementOfEach(options, count, virtual)
        super().__init__(
            Process(0, 1),
            virtual,
            options,
            placement=placement,
            push_pull=functools.partial(
                PushPullOfEach, placement=placement, virtual=virtual
            ),
        )
        # A program that seeds by itself does so later.
        keras.utils.set_random_seed(seed)
        self._virtual = virtual

    def choose(self, options: Options) -> None:
        """Takes the choices of a call of ``distribute``; servers are the cluster's."""
        super().choose(dataclasses.replace(options, servers=self.options.servers))

    def close(self) -> list[str]:
        """Ends the trace; returns the lines that end a run."""
        if self._virtual.close():
            time.sleep(LEAVE_S)
        self.events += self.recording.take()
        problem = self.recording.close()
        lines = [f"simulated  {self.simulator.now_s:.1f} s of the cluster's time"]
        return [
            *lines,
            *self.recording.summary.lines(),
            *([problem] if problem else []),
        ]

    def _watch(self) -> None:
        """Takes down what has happened; ends the job where its server would."""
        self.events += self.recording.take()
        for service in self.simulator.services:
            for shard in service.groups.values():
                if shard.refused_in_a_row >= self.options.refuse_at_most:
                    raise FloatingPointError(
                        "gradients must be finite. Received: "
                        f"{shard.refused_in_a_row} in a row that were NaN or infinite. "
                        "Lower the learning rate, clip the gradients, or look for NaN "
                        "in the data."
                    )
