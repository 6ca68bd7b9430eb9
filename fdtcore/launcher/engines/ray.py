"""Ray: a task for each bundle of a placement group, which is there at once or not."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from fdtcore.launcher.engines import engine
from fdtcore.launcher.engines.engine import Task

_CONNECT_S = 10


class Ray:
    """A cluster with a head.

    Args:
        where: Address of the head, ``node1:6379``; empty for that of the environment.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._group: Any = None
        self._tasks: list[Any] = []

    def connect(self) -> str:
        """Connects to the head; see `GangEngine.connect`."""
        engine.require("ray")
        import ray

        where = self._where or os.environ.get("RAY_ADDRESS", "")
        if where.startswith("ray://"):
            raise ValueError(
                "the address of Ray must be that of its head. Received: "
                f"{where}, of Ray Client. Start the job on a machine of the cluster: "
                "--on ray=HOST:6379."
            )
        if where:
            _look_for(where)  # Ray itself waits for a head for minutes
        try:
            ray.init(
                address=where or "auto", log_to_driver=False, configure_logging=False
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _unreachable(where, error) from None
        return str(ray.util.get_node_ip_address())

    def num_slots(self) -> int:
        """Returns the cores that nobody has asked for."""
        import ray

        return int(ray.available_resources().get("CPU", 0))

    def start(self, tasks: Sequence[Task]) -> None:
        """Asks for a core for each task, all at once."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self._group = placement_group([{"CPU": 1}] * len(tasks), strategy="PACK")
        for number, task in enumerate(tasks):
            where = PlacementGroupSchedulingStrategy(
                placement_group=self._group, placement_group_bundle_index=number
            )
            remote = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy=where)
            self._tasks.append(remote(task).remote())

    def problem(self) -> str:
        """Returns what the first task that failed says."""
        import ray

        ended, _ = ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        for one in ended:
            try:
                ray.get(one)
            except Exception as error:  # any of Ray's, or the task's own
                return f"Ray: {engine.one_line(error)}"
        return ""

    def close(self) -> None:
        """Takes the group away; whatever runs in it is killed."""
        import ray

        if self._group is not None:
            ray.util.remove_placement_group(self._group)
        if ray.is_initialized():
            ray.shutdown()


def _look_for(where: str) -> None:
    """Refuses an address at which nobody listens.

    Raises:
        ValueError: The address takes no connections.
    """
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise _unreachable(where, error) from None


def _unreachable(where: str, error: BaseException) -> ValueError:
    return ValueError(
        "the head of Ray must be reachable, from a machine of its cluster. "
        f"Received: {where or 'no address'}: {engine.one_line(error)}. "
        "Start it: ray start --head, or write: --on ray=HOST:6379."
    )
