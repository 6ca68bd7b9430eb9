"""What a server keeps of a run, and how another one goes on from it.

Pure: a service in, numbers, text and arrays out, and the way back. Kept are, for each
group, parameters, the state of its rule, version and rate; the ledger of batches; and
what worker 0 has noted of each epoch. A gradient that the controller still holds back
is lost with the run, so its batch is not kept as done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nfdt.protocol.leases import Leases
from nfdt.protocol.shard_server import ShardServer

FORMAT = 1


def kept(
    groups: Mapping[int, ShardServer],
    descriptions: Mapping[int, Mapping[str, Any]],
    leases: Mapping[int, Leases],
) -> dict[str, Any]:
    """Returns what a service has to keep of its groups and batches."""
    held = {pair for server in groups.values() for pair in server.held_batches()}
    return {
        "groups": {
            group: {
                "description": dict(descriptions[group]),
                "params": server.params,
                "state": server.update.state(),
                "version": server.version,
                "learning_rate": server.learning_rate,
            }
            for group, server in groups.items()
        },
        "leases": {
            epoch: {
                "num_batches": ledger.num_batches,
                "done": np.array(
                    [n for n in sorted(ledger.done) if (epoch, n) not in held], np.int64
                ),
            }
            for epoch, ledger in leases.items()
        },
    }


def restore(server: ShardServer, found: Mapping[str, Any]) -> None:
    """Makes the server of a shard go on from what was kept of it."""
    server.load(found["params"], found["state"])
    server.version = int(found["version"])
    server.learning_rate = float(found["learning_rate"])


def restored_leases(found: Mapping[str, Any]) -> dict[int, Leases]:
    """Returns the ledger that was kept, by epoch."""
    return {
        int(epoch): Leases(one["num_batches"], frozenset(one["done"].tolist()))
        for epoch, one in found["leases"].items()
    }


def check(found: Any, server: int, num_servers: int, num_workers: int) -> None:
    """Refuses what another kind of job has kept.

    Args:
        found: The content of a file.
        server: Index of this server.
        num_servers: Servers of this job.
        num_workers: Workers of this job.

    Raises:
        ValueError: It was another kind.
    """
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise ValueError(
            f"a checkpoint must be of format {FORMAT}. Received: "
            f"{found.get('format') if isinstance(found, Mapping) else 'no checkpoint'}."
            " Begin anew, without --resume."
        )
    for name, own, way in (
        ("servers", num_servers, "--servers"),
        ("workers", num_workers, "-np"),
    ):
        if found[name] != own:
            raise ValueError(
                f"a run is resumed with as many {name} as it had. Received: {own} "
                f"{name} for a checkpoint of {found[name]}. Use {way} {found[name]}."
            )
    assert found["server"] == server, found["server"]
