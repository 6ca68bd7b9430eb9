"""The wait for hosts of a job that are still starting, such as pods of Kubernetes.

``python -m fdtcore.launcher.engines.host_wait HOSTFILE PORT COMMAND...`` runs a command
when every host of a host file takes connections. The name of a pod is known only some
time after the pod has started, and its sshd listens later still.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fdtcore.launcher import hosts as hosts_module

LIMIT_S = 600.0  # a pod may have to wait for a machine, and to fetch its image
_CONNECT_S = 5.0
_LOOK_S = 0.5


def wait(names: Sequence[str], port: int, limit_s: float = LIMIT_S) -> None:
    """Returns when every host takes connections.

    Args:
        names: Hosts, by name or address.
        port: Port that each of them listens on.
        limit_s: How long all of them together may take.

    Raises:
        ValueError: A host does not take connections in time.
    """
    deadline_s = time.monotonic() + limit_s
    for name in names:
        while problem := _problem(name, port):
            if time.monotonic() >= deadline_s:
                raise ValueError(
                    f"every host must take connections within {limit_s:g} s. Received: "
                    f"{name} port {port}: {problem}. See: kubectl get pods."
                )
            time.sleep(_LOOK_S)


def _problem(name: str, port: int) -> str:
    try:
        socket.create_connection((name, port), _CONNECT_S).close()
    except OSError as error:
        return str(error.strerror or error)
    return ""


def main(argv: Sequence[str]) -> str | None:
    """Waits for the hosts of a host file, and becomes the command that needs them.

    Args:
        argv: Host file, port, and the words of the command.

    Returns:
        One line that says why the command was not run.
    """
    hostfile, port, *command = argv
    try:
        found = hosts_module.parse_hostfile(Path(hostfile).read_text())
        wait([host.name for host in found], int(port))
        os.execvp(command[0], command)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or command[0]}: {error.strerror}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
