"""The answers of a machine to the preflight of a job; runs on that machine.

It is sent as text to the Python of the other machine, where nothing of this project
may be installed: so it imports the standard library alone, at its top.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import Any


def _versions(packages: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _interfaces() -> list[list[str | None]]:
    try:
        import psutil
    except ImportError:
        return []
    return [
        [name, address.address.partition("%")[0], address.netmask]
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
        and psutil.net_if_stats()[name].isup
    ]


def _free_bytes(folder: str) -> int:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def _wrong_folder(folder: str) -> str | None:
    """Says why a folder cannot be written to, or made; None where it can."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(65536))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def look(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what this machine has of what a job wants.

    Args:
        wanted: ``packages`` and ``distributions`` to look for, the ``folder`` to work
            in, the ``script`` (empty for none) and the folder of ``logs``.
    """
    os.chdir(wanted["folder"] if os.path.isdir(wanted["folder"]) else "/")
    places = {}
    for name in wanted["packages"]:
        spec = importlib.util.find_spec(name)
        places[name] = spec.origin if spec else None
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "places": places,
        "versions": _versions(wanted["distributions"]),
        "has_folder": os.path.isdir(wanted["folder"]),
        "has_script": not wanted["script"] or os.path.exists(wanted["script"]),
        "wrong_logs": _wrong_folder(wanted["logs"]) if wanted["logs"] else None,
        "free_bytes": _free_bytes(wanted["logs"] or wanted["folder"]),
        "time_s": time.time(),
        "interfaces": _interfaces(),
        "cores": len(os.sched_getaffinity(0)),
    }


if __name__ == "__main__":
    print("\nprobe:" + json.dumps(look(json.loads(sys.argv[1]))))
