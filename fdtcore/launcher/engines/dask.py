"""Dask: a task for each thread of its workers, each pinned to its worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fdtcore import interfaces
from fdtcore.launcher.engines import engine
from fdtcore.launcher.engines.engine import Task

_CONNECT_S = 10


class Dask:
    """A cluster with a scheduler.

    Args:
        where: Address of the scheduler, ``tcp://node1:8786``; empty for that of the
            environment, or of Dask's own configuration.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._client: Any = None
        self._futures: list[Any] = []

    def connect(self) -> str:
        """Connects to the scheduler; see `GangEngine.connect`."""
        engine.require("distributed")
        import dask
        from distributed import Client

        where = self._where or os.environ.get("DASK_SCHEDULER_ADDRESS", "")
        where = where or dask.config.get("scheduler-address", None) or ""
        if not where:
            raise ValueError(
                "the scheduler of Dask must be named. Received: no address, and no "
                "DASK_SCHEDULER_ADDRESS. Write: --on dask=tcp://HOST:8786."
            )
        try:
            self._client = Client(where, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                "the scheduler of Dask must be reachable. "
                f"Received: {where}: {engine.one_line(error)}. "
                "Start it: dask scheduler."
            ) from None
        # As the workers know it: here it may have been called localhost.
        known_as = self._client.scheduler_info()["address"]
        host = known_as.rpartition("://")[2].rpartition(":")[0].strip("[]")
        return interfaces.towards(host) or "127.0.0.1"

    def num_slots(self) -> int:
        """Returns the threads of all workers."""
        return sum(self._workers().values())

    def start(self, tasks: Sequence[Task]) -> None:
        """Submits each task to one worker, where it stays."""
        left = list(tasks)
        for address, threads in self._workers().items():
            for _ in range(min(threads, len(left))):
                future = self._client.submit(
                    left.pop(0),
                    workers=[address],
                    allow_other_workers=False,
                    pure=False,
                    retries=0,
                )
                self._futures.append(future)

    def problem(self) -> str:
        """Returns what the first task that failed says."""
        for future in self._futures:
            if future.status == "error":
                return f"Dask: {engine.one_line(future.exception())}"
            if future.status in ("lost", "cancelled"):
                return f"Dask: a task is {future.status}"
        return ""

    def close(self) -> None:
        """Forgets the tasks, whose agents end by themselves."""
        if self._client is not None:
            self._client.cancel(self._futures, force=True)
            self._client.close(timeout=_CONNECT_S)

    def _workers(self) -> dict[str, int]:
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        return {address: worker["nthreads"] for address, worker in found.items()}
