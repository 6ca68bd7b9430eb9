"""A switch in user space with latency: each host's cable ends in this process.

``relay.py SPEC.json``, as root; the file names addresses of hosts and the one-way
latency: ``{"nodes": {"node1": "10.66.0.1/24", ...}, "delay_ms": 5}``. What ``tc
netem`` does where the kernel has it.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import pathlib
import select
import struct
import subprocess
import sys
import time

_TUNSETIFF, _TAP, _NO_HEADER = 0x400454CA, 2, 0x1000
_FRAMES = 64  # taken from one host before the next has its turn


def cable(number: int, host: str, address: str) -> int:
    """Makes the network interface of a host; returns its other end."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"relay{number}"
    request = struct.pack("16sH22x", name.encode(), _TAP | _NO_HEADER)
    fcntl.ioctl(end, _TUNSETIFF, request)
    for words in (
        ("link", "set", name, "netns", host),
        ("-n", host, "link", "set", name, "name", "eth0"),
        ("-n", host, "addr", "add", address, "dev", "eth0"),
        ("-n", host, "link", "set", "eth0", "up"),
    ):
        subprocess.run(["ip", *words], check=True)
    return end


def serve(ends: list[int], delay_s: float) -> None:
    """Passes frames on after a time, for ever."""
    poll = select.epoll()
    for end in ends:
        poll.register(end, select.EPOLLIN)
    homes: dict[bytes, int] = {}  # hardware address -> the end behind which it is
    queue: list[tuple[float, int, int, bytes]] = []  # due, order, end, frame
    order = 0
    while True:
        now_s = time.monotonic()
        while queue and queue[0][0] <= now_s:
            *_, end, frame = heapq.heappop(queue)
            os.write(end, frame)
        # epoll waits whole milliseconds: the last one passes in this loop.
        wait_s = max(0.0, queue[0][0] - now_s - 0.001) if queue else -1
        for source, _ in poll.poll(wait_s):
            for frame in _frames(source):
                homes[frame[6:12]] = source
                home = homes.get(frame[:6])
                for end in [home] if home else [e for e in ends if e != source]:
                    order += 1
                    due_s = time.monotonic() + delay_s
                    heapq.heappush(queue, (due_s, order, end, frame))


def _frames(source: int) -> list[bytes]:
    frames: list[bytes] = []
    while len(frames) < _FRAMES:
        try:
            frames.append(os.read(source, 65600))
        except BlockingIOError:
            break
    return frames


if __name__ == "__main__":
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
    ends = [cable(i, *node) for i, node in enumerate(spec["nodes"].items())]
    print("ready", flush=True)
    serve(ends, spec["delay_ms"] / 1e3)
