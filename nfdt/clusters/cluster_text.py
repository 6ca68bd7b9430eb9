"""The text of a cluster file, from which ``cluster_yaml`` makes an equal cluster."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping

import yaml

from fdtcore.text_values import write_number, write_s
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Change, Dies, Joins, Link, Servers, WorkerGroup
from nfdt.clusters.step_times import Constant, Duration, Exponential, Gamma, Measured
from nfdt.clusters.units import write_bytes_per_s

_WIDTH = 88


def written(cluster: Cluster, comments: Iterable[str] = ()) -> str:
    """Returns the text of a file.

    Args:
        cluster: Cluster to write, with step times that a file can name.
        comments: Lines for its head.

    Raises:
        ValueError: A step time is of a custom class, which no file can name.
    """
    lines = [f"# {line}".rstrip() for line in comments]
    if cluster.name:
        lines.append(f"name: {_quoted(cluster.name)}")
    lines.append("workers:")
    for group in cluster.groups:
        lines += _group(group)
    servers = _servers(cluster.servers)
    lines += [f"servers: {_flow(servers)}"] if servers else []
    lines += ["events:"] if cluster.changes else []
    lines += [f"  - {_flow(_change(change))}" for change in cluster.changes]
    return "\n".join(lines) + "\n"


def _group(group: WorkerGroup) -> list[str]:
    lines = [f"count: {group.count}", f"step: {_step(group.step)}"]
    if link := _link(group.link):
        lines.append(f"link: {_flow(link)}")
    if group.spread:
        lines.append(f"spread: {write_number(group.spread)}")
    lines += ["edges:"] if group.edges else []
    for edge in group.edges:
        keys = {"terminals": str(edge.terminals)}
        if link := _link(edge.link):
            keys["link"] = _flow(link)
        lines.append(f"  - {_flow(keys)}")
    lines = [part for line in lines for part in _wrapped(line)]
    return [f"  {'  ' if index else '- '}{line}" for index, line in enumerate(lines)]


def _step(step: Duration) -> str:
    match step:
        case Constant(mean_s):
            return write_s(mean_s)
        case Exponential(mean_s):
            return _flow({"exponential": write_s(mean_s)})
        case Gamma(mean_s, cv):
            return _flow({"gamma": write_s(mean_s), "cv": write_number(cv)})
        case Measured(times_s, factor):
            keys = {"measured": f"[{', '.join(map(write_s, times_s))}]"}
            if factor != 1:
                keys["factor"] = write_number(factor)
            return _flow(keys)
    raise ValueError(
        "a file knows the steps constant, gamma, exponential and measured. Received: "
        f"{step}. Give measured times instead."
    )


def _link(link: Link) -> dict[str, str]:
    keys = {}
    if link.latency_s:
        keys["latency"] = write_s(link.latency_s)
    if link.bytes_per_s != math.inf:
        keys["bandwidth"] = write_bytes_per_s(link.bytes_per_s)
    if link.jitter_s:
        keys["jitter"] = write_s(link.jitter_s)
    return keys


def _servers(servers: Servers) -> dict[str, str]:
    keys = {}
    if servers.count != 1:
        keys["count"] = str(servers.count)
    if servers.bytes_per_s != math.inf:
        keys["update"] = write_bytes_per_s(servers.bytes_per_s)
    if servers.overhead_s:
        keys["overhead"] = write_s(servers.overhead_s)
    if link := _link(servers.link):
        keys["link"] = _flow(link)
    if servers.allreduce:
        keys["allreduce"] = "true"
    return keys


def _change(change: Change) -> dict[str, str]:
    at = write_s(change.at_s)
    if isinstance(change, Joins):
        return {"at": at, "joins": str(change.count), "like": str(change.like)}
    keys = {"at": at, "worker": str(change.worker)}
    if isinstance(change, Dies):
        return {**keys, "dies": "true"}
    return {**keys, "slower": write_number(change.factor)}


def _wrapped(line: str) -> list[str]:
    """Breaks a line with many measured times, which YAML still takes as one."""
    return textwrap.wrap(line, _WIDTH - 4, subsequent_indent="  ")


def _flow(keys: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


def _quoted(text: str) -> str:
    return str(yaml.safe_dump(text, default_style='"', width=math.inf)).strip()
