"""The performance monitor of a worker: its speed, and the load of its machine."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nfdt.protocol.events import INTERVAL_S, Readings

_LAST_STEPS = 9  # whose median gives the speed: occasionally one stands still


class _Totals(NamedTuple):
    """What has come together since the machine was started."""

    time_s: float
    network_bytes: float
    disk_bytes: float


class ResourceMonitor:
    """Reads CPU, memory, network and disk of the machine, and the worker's own speed.

    Args:
        now: A clock, in seconds.

    Raises:
        ValueError: psutil is not installed.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        check_psutil()
        self._now = now
        self._steps_s: deque[float] = deque(maxlen=_LAST_STEPS)
        self._last: _Totals | None = None  # at the last readings

    def step(self, step_s: float) -> bytes:
        """Counts a step; returns new readings, packed, where it is time for some.

        Args:
            step_s: How long it took, without any waiting.
        """
        import psutil

        time_s = self._now()
        if self._last is None:  # the first step is traced, and gives no speed
            self._last = _totals(time_s)
            psutil.cpu_percent()  # its next value is of the time since this call
            return b""
        self._steps_s.append(step_s)
        passed_s = time_s - self._last.time_s
        if passed_s < INTERVAL_S:
            return b""
        last, self._last = self._last, _totals(time_s)
        return Readings(
            steps_per_s=1 / statistics.median(self._steps_s),
            cpu_percent=psutil.cpu_percent(),
            memory_percent=psutil.virtual_memory().percent,
            network_bytes_per_s=(self._last.network_bytes - last.network_bytes)
            / passed_s,
            disk_bytes_per_s=(self._last.disk_bytes - last.disk_bytes) / passed_s,
        ).packed()


def check_psutil() -> None:
    """Refuses to monitor without psutil.

    Raises:
        ValueError: The package psutil is not installed.
    """
    try:
        import psutil  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"the monitor of dsp reads the machine with psutil. Received: {error}. "
            "Run: python -m pip install psutil (it is in the extra nfdt), or use "
            "--consistency dsp:fixed, which monitors nothing."
        ) from error


def _totals(time_s: float) -> _Totals:
    import psutil

    network, disk = psutil.net_io_counters(), psutil.disk_io_counters()
    # A machine without a disk or a network has no counters.
    network_bytes = network.bytes_sent + network.bytes_recv if network else 0
    disk_bytes = disk.read_bytes + disk.write_bytes if disk else 0
    return _Totals(time_s, network_bytes, disk_bytes)
