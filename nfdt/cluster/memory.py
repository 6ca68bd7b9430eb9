"""When a server writes checkpoints, and from which one it goes on."""

from __future__ import annotations

import time
from typing import Any

from nfdt.cluster import checkpoint_store
from nfdt.options import Options
from nfdt.protocol import checkpoints
from nfdt.protocol.keepsakes import Keepsakes
from nfdt.protocol.server import Service
from nfdt.protocol.topology import Roles


class Memory:
    """The checkpoints of one server, where any are wanted.

    Args:
        options: The user's choices.
        roles: Who is who in the job.
        server: Index of this server.

    Raises:
        ValueError: There is nothing to go on from, or nowhere to write.
    """

    def __init__(self, options: Options, roles: Roles, server: int):
        about = {
            "format": checkpoints.FORMAT,
            "server": server,
            "servers": roles.num_servers,
            "workers": roles.num_workers,
        }
        self.keepsakes = Keepsakes(about, found_earlier(options, roles, server))
        self._keeper = None
        if options.checkpoint:
            self._keeper = checkpoint_store.Keeper(
                options.checkpoint, server, roles.num_servers, options.checkpoint_every
            )

    def begin(self, service: Service) -> None:
        """Makes a service go on from what was kept, where something was."""
        self.keepsakes.begin(service)

    def keep(self, service: Service, now_s: float) -> str:
        """Writes a checkpoint where it is time; returns what has gone wrong."""
        keeper = self._keeper
        if keeper is None:
            return ""
        if keeper.is_due(now_s, is_open=bool(service.groups)):
            keeper.keep(self.keepsakes.kept(service), keeper.number(now_s))
        problem, keeper.problem = keeper.problem, ""
        return problem

    def last_number(self) -> int:
        """Returns the number that this server would give to the last one."""
        if self._keeper is None:
            return 0
        return self._keeper.number(time.perf_counter()) + 1

    def close(self, service: Service, number: int) -> str:
        """Writes the last one, of all that was done; returns what has gone wrong.

        Args:
            service: What is kept.
            number: Its number.
        """
        if self._keeper is None or not service.groups:
            return ""
        self._keeper.keep(self.keepsakes.kept(service), number)
        self._keeper.wait()
        return self._keeper.problem


def found_earlier(options: Options, roles: Roles, server: int) -> Any:
    """Returns what a server of an interrupted run has kept; None for a run that begins.

    Args:
        options: The user's choices.
        roles: Who is who in the job.
        server: Index of the server.

    Raises:
        ValueError: There is nothing, or it is broken or of another kind of job.
    """
    if not options.resume:
        return None
    number = checkpoint_store.newest(options.resume, roles.num_servers)
    found = checkpoint_store.read(options.resume, number, server, roles.num_servers)
    checkpoints.check(found, server, roles.num_servers, roles.num_workers)
    return found
