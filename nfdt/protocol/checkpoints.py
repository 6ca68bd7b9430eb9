"""The contents of a checkpoint, and the checks when a run resumes from it.

Pure: a service in, numbers, text and arrays out, and the way back. Kept are, for each
group, parameters, the state of its rule, version and rate; the ledger of batches; and
what worker 0 has noted of each epoch. A gradient that the controller still holds back
is lost with the run, so what it was made of is not kept as done.

What a server keeps for a run that goes on after an interruption.

Pure: messages in, messages out. ``checkpoints`` says what is kept of its groups and
batches; here are the notes of worker 0, and the way back from all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nfdt.protocol import serialization
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.group_spec import GroupSpec, difference
from nfdt.protocol.leases import Leases
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.protocol.shard_server import ShardServer

SEED = "seed"  # the note of what shuffles are drawn from, which every run makes
# 1 kept the numbers and the arrays of a rule apart, 2 did not know what was pushed.
FORMAT = 3


def kept(service: Service) -> dict[str, Any]:
    """Returns what a service has to keep of its groups and batches."""
    holding = {w for server in service.groups.values() for w in server.holding()}
    held = {
        (epoch, number)
        for worker, (epoch, numbers) in service.merged.items()
        for number in numbers
        if worker in holding
    }
    return {
        "groups": {
            group: {
                "description": service.specs[group].to_json(),
                "params": server.params,
                "state": server.update.state(),
                "version": server.version,
                "learning_rate": server.learning_rate,
            }
            for group, server in service.groups.items()
        },
        "leases": {
            epoch: {
                "num_batches": ledger.num_batches,
                "done": np.array(
                    [n for n in sorted(ledger.done) if (epoch, n) not in held], np.int64
                ),
            }
            for epoch, ledger in service.leases.items()
        },
        "pushed": {
            epoch: np.array(sorted(pairs), np.int64).reshape(-1, 2)
            for epoch, pairs in service.pushed.items()
        },
    }


def restore(server: ShardServer, found: Mapping[str, Any]) -> None:
    """Makes the server of a shard go on from what was kept of it."""
    server.load(found["params"], found["state"])
    server.version = int(found["version"])
    server.learning_rate = float(found["learning_rate"])


def restored_leases(
    found: Mapping[str, Any], partial: Collection[tuple[int, int, int]]
) -> dict[int, Leases]:
    """Returns the ledger that was kept, by epoch.

    Args:
        found: What was kept.
        partial: Epoch, group and batch of pushes that not all servers have.
    """
    again = {(epoch, number) for epoch, _, number in partial}
    return {
        int(epoch): Leases(
            one["num_batches"],
            frozenset(n for n in one["done"].tolist() if (int(epoch), n) not in again),
        )
        for epoch, one in found["leases"].items()
    }


def pushes(found: Mapping[str, Any]) -> set[tuple[int, int, int]]:
    """Returns epoch, group and batch of the last pushes that a server has kept."""
    return {
        (int(epoch), int(group), int(number))
        for epoch, pairs in found["pushed"].items()
        for group, number in pairs.tolist()
    }


def partial(kept: Sequence[Mapping[str, Any]]) -> set[tuple[int, int, int]]:
    """Returns the pushes that some of the servers have, and not all of them.

    Files of one number are moments apart: a push may have come to one server before it
    wrote its own, and to another one after.
    """
    found = [pushes(one) for one in kept]
    # Of the epochs before a server does not know any more; all have them.
    first = max((min(one)[0] for one in found if one), default=0)
    lacking = found[0].union(*found) - found[0].intersection(*found)
    return {one for one in lacking if one[0] >= first}


def of_running(
    found: Mapping[str, Any], lacking: Collection[tuple[int, int, int]]
) -> set[tuple[int, int, int]]:
    """Returns those pushes whose epoch is not over, so that they can be made again.

    Args:
        found: What the first server has kept, with the notes of worker 0.
        lacking: Epoch, group and batch of pushes.
    """
    notes = found["notes"]
    return {one for one in lacking if str(EpochId.unpack(one[0])) not in notes}


def check(found: object, server: int, num_servers: int, num_workers: int) -> None:
    """Refuses what another kind of job has kept.

    Args:
        found: The content of a file.
        server: Index of this server.
        num_servers: Servers of this job.
        num_workers: Workers of this job.

    Raises:
        ValueError: The checkpoint is of another kind of job.
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


class Mismatch(ValueError):
    """What workers do does not fit what the servers have; no worker can go on."""


class CheckpointState:
    """The memory of one server.

    Args:
        about: What every checkpoint of this server says of itself.
        earlier: What :meth:`kept` returned in the run that was interrupted; None for
            a run that begins.
        lacking: Epoch, group and batch of pushes that not all servers have kept.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        earlier: Mapping[str, Any] | None,
        lacking: Collection[tuple[int, int, int]] = (),
    ):
        self._about, self._partial = about, lacking
        self._notes: dict[str, bytes] = {}  # name -> what worker 0 wants kept
        self._groups: dict[int, Any] = {}  # group -> what was kept, until it is opened
        self._recalled: dict[str, Any] = {"notes": {}, "groups": {}}
        self._earlier = earlier
        self._begun: Any = None  # progress at the beginning
        if earlier is not None:
            self._notes = {n: data.tobytes() for n, data in earlier["notes"].items()}
            kept = {**earlier["unopened"], **earlier["groups"]}
            self._groups = {int(g): found for g, found in kept.items()}
            about_groups = {g: f["description"] for g, f in self._groups.items()}
            self._recalled = {"notes": earlier["notes"], "groups": about_groups}

    def begin(self, service: Service) -> None:
        """Gives a service the ledger that was kept."""
        if self._earlier is not None:
            pushed: dict[int, set[tuple[int, int]]] = {}
            for epoch, *pair in pushes(self._earlier):
                pushed.setdefault(epoch, set()).add((pair[0], pair[1]))
            leases = restored_leases(self._earlier, self._partial)
            stopped = self._earlier["stopped"]
            service.resume(leases, stopped, pushed, self._partial)
        self._begun = self._progress(service)

    def has_trained(self, service: Service) -> bool:
        """Whether a service has come further than it was at the beginning."""
        return bool(self._progress(service) != self._begun)

    def _progress(self, service: Service) -> Any:
        versions = {g: int(found["version"]) for g, found in self._groups.items()}
        versions |= {g: server.version for g, server in service.groups.items()}
        return (
            {group: version for group, version in versions.items() if version},
            sum(ledger.num_done for ledger in service.leases.values()),
            len(self._notes.keys() - {SEED}),
        )

    def resume_group(self, service: Service, group: int) -> None:
        """Gives a group that has just been opened what was kept of it.

        Raises:
            Mismatch: The checkpoint is of another model.
        """
        found = self._groups.pop(group, None)
        if found is None:
            return
        earlier = GroupSpec.from_json(found["description"])
        wrong = difference(earlier, service.specs[group])
        if wrong is not None:
            raise Mismatch(
                "a run must be resumed with the model and the algorithm that it had. "
                f"Received: {wrong[1]}, where the checkpoint has {wrong[0]}. "
                "Use the same script and options, or begin without --resume."
            )
        restore(service.groups[group], found)

    def handle(self, message: Message) -> list[Message]:
        """Takes a NOTE or a RECALL; returns those to send."""
        if message.kind is Kind.RECALL:
            payload = serialization.dump(self._recalled)
            return [Message(Kind.BYTES, message.worker, payload=payload)]
        # All at once: no checkpoint has some of what belongs together.
        description, data = serialization.unpack(message.payload)
        kept = serialization.unpack_list(data)
        self._notes.update(zip(description["names"], kept, strict=True))
        return []

    def kept(self, service: Service) -> dict[str, Any]:
        """Returns what another server needs to go on from here."""
        notes = {n: np.frombuffer(data, np.uint8) for n, data in self._notes.items()}
        return {
            **self._about,
            **kept(service),
            # Not opened again yet, and not to be lost with the next interruption.
            "unopened": self._groups,
            "stopped": sorted(service.stopped),
            "notes": notes,
        }


def check_batches(service: Service, message: Message) -> None:
    """Refuses a worker whose epoch has other batches than the servers know.

    Raises:
        Mismatch: The number of batches has changed.
    """
    ledger = service.leases.get(message.epoch)
    if message.kind is Kind.LEASE and ledger is not None:
        known = ledger.num_batches
        if known != message.parts:
            raise Mismatch(
                "an epoch must have the same batches on all workers, and when it is "
                f"resumed. Received: {message.parts} batches on worker "
                f"{message.worker}, where {known} are known. Keep data and batch size."
            )
