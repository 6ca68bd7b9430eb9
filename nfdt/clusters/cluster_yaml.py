"""Clusters in files: a short YAML text, read into a :class:`Cluster`.

::

    name: one straggler
    workers:
      - count: 7
        step: {gamma: 20ms, cv: 0.1}  # {constant: ...}, {exponential: ...}, or 20ms
        link: {latency: 0.1ms, bandwidth: 1Gbit/s, jitter: 0.02ms}
      - count: 8
        step: {measured: [79ms, 80ms, 84ms], factor: 2}
        spread: 0.6                   # of the workers' own mean times
        edges:                        # each with some of these eight below it
          - {terminals: 8, link: {latency: 5ms}}
    servers: {count: 1, update: 2GB/s, overhead: 50us, link: {bandwidth: 10Gbit/s}}
    events:
      - {at: 60s, worker: 3, slower: 4}
      - {at: 1.5min, worker: 5, dies: true}
      - {at: 2min, joins: 2, like: 0}

``servers: {allreduce: true}`` has none: workers reduce gradients in a ring.
Only ``workers`` with ``count`` and ``step`` must be there. Numbers without a unit are
seconds, or bytes per second.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from fdtcore.text_values import read_number, read_s
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import (
    Change,
    Dies,
    Edge,
    Joins,
    Link,
    Servers,
    Slower,
    WorkerGroup,
)
from nfdt.clusters.step_times import Constant, Duration, Exponential, Gamma, Measured
from nfdt.clusters.units import (
    read_bytes_per_s,
    read_count,
    read_index,
    read_true,
)
from nfdt.clusters.yaml_values import Value, compose

T = TypeVar("T")
# Each kind of a step and of an event: the key that makes it one -> all its keys.
_STEPS = {
    "constant": ("constant",),
    "gamma": ("gamma", "cv"),
    "exponential": ("exponential",),
    "measured": ("measured", "factor"),
}
_CHANGES = {
    "slower": ("at", "worker", "slower"),
    "dies": ("at", "worker", "dies"),
    "joins": ("at", "joins", "like"),
}


def read(path: str | Path) -> Cluster:
    """Reads a file.

    Args:
        path: Path of the file.

    Raises:
        ValueError: The file is missing or invalid; the message has line and key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"the cluster must be a readable text file. Received: {path}: "
            f"{getattr(error, 'strerror', None) or error}. Use one of "
            "examples/clusters, or write one with nfdt calibrate."
        ) from error
    return parse(text, str(path))


def parse(text: str, source: str = "the cluster") -> Cluster:
    """Reads the text of a file.

    Args:
        text: Text of a cluster file, in YAML.
        source: What errors call the file.

    Raises:
        ValueError: The text is invalid; the message has line and key.
    """
    whole = compose(text, source)
    found = whole.fields(("name", "workers", "servers", "events"), "workers")
    groups = tuple(_group(value) for value in found["workers"].items())
    servers = _servers(found["servers"]) if "servers" in found else Servers()
    with found["workers"].placed():
        cluster = Cluster(groups, servers)
    changes = found["events"].items() if "events" in found else []
    return Cluster(
        groups,
        servers,
        tuple(_change(value, cluster) for value in changes),
        _given(found, "name", str, ""),
    )


def _group(value: Value) -> WorkerGroup:
    known = ("count", "step", "link", "spread", "edges")
    found = value.fields(known, "count", "step")
    edges = found["edges"].items() if "edges" in found else []
    with value.placed():
        return WorkerGroup(
            found["count"].read(read_count),
            _step(found["step"]),
            _link(found),
            _given(found, "spread", read_number, 0.0),
            tuple(_edge(edge) for edge in edges),
        )


def _step(value: Value) -> Duration:
    kind = "constant" if value.is_scalar else value.kind(_STEPS)
    found = {kind: value} if value.is_scalar else value.fields(_STEPS[kind])
    with value.placed():
        match kind:
            case "gamma":
                cv = _given(found, "cv", read_number, Gamma.cv)
                return Gamma(found[kind].read(read_s), cv)
            case "measured":
                times_s = tuple(one.read(read_s) for one in found[kind].items())
                return Measured(times_s, _given(found, "factor", read_number, 1.0))
            case "exponential":
                return Exponential(found[kind].read(read_s))
        return Constant(found[kind].read(read_s))


def _edge(value: Value) -> Edge:
    found = value.fields(("terminals", "link"), "terminals")
    return Edge(found["terminals"].read(read_count), _link(found))


def _link(owner: Mapping[str, Value]) -> Link:
    if "link" not in owner:
        return Link()
    value = owner["link"]
    found = value.fields(("latency", "bandwidth", "jitter"))
    with value.placed():
        return Link(
            _given(found, "latency", read_s, 0.0),
            _given(found, "bandwidth", read_bytes_per_s, math.inf),
            _given(found, "jitter", read_s, 0.0),
        )


def _servers(value: Value) -> Servers:
    found = value.fields(("count", "update", "overhead", "link", "allreduce"))
    if "allreduce" in found:
        found["allreduce"].read(read_true)
    with value.placed():
        return Servers(
            _given(found, "count", read_count, 1),
            _given(found, "update", read_bytes_per_s, math.inf),
            _given(found, "overhead", read_s, 0.0),
            _link(found),
            allreduce="allreduce" in found,
        )


def _change(value: Value, cluster: Cluster) -> Change:
    kind = value.kind(_CHANGES)
    found = value.fields(_CHANGES[kind], *_CHANGES[kind])
    at_s = found["at"].read(read_s)
    worker = found["like" if kind == "joins" else "worker"].read(read_index)
    change: Change
    with value.placed():
        match kind:
            case "slower":
                change = Slower(at_s, worker, found[kind].read(read_number))
            case "dies":
                found[kind].read(read_true)
                change = Dies(at_s, worker)
            case _:
                change = Joins(at_s, worker, found[kind].read(read_count))
        dataclasses.replace(cluster, changes=(change,))  # it knows its workers
    return change


def _given(
    found: Mapping[str, Value], key: str, read: Callable[[str], T], default: T
) -> T:
    return found[key].read(read) if key in found else default
