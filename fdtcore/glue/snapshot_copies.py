"""The part of a snapshot that only rank 0 has, for ranks that keep copies of it.

Variables are on every rank, and are not sent. Of arrays that callbacks hold the large
ones are mostly alike on all ranks too, as the best weights are of ``EarlyStopping``:
they are compared first, and only those are sent that a rank lacks.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fdtcore.engine import Array, Collectives
from fdtcore.glue.snapshot_choice import broadcast
from fdtcore.snapshots import tensor_file
from fdtcore.snapshots.tensor_file import Content

_LARGE_BYTES = 1 << 14


def shared(collectives: Collectives, own: Content, *, is_keeper: bool) -> Content:
    """Returns what rank 0 has; all ranks call it.

    Args:
        collectives: Those of the ranks.
        own: On rank 0 what it has; on others the same of their own callbacks.
        is_keeper: Whether this rank keeps a copy.
    """
    large = {n: _digest(a) for n, a in own.arrays.items() if a.nbytes > _LARGE_BYTES}
    small = {n: a for n, a in own.arrays.items() if n not in large}
    about = {"about": own.about, "names": list(own.arrays), "large": large}
    is_first = collectives.process.rank == 0
    sent = tensor_file.dump(Content(small, about)) if is_first else b""
    found = tensor_file.parse(broadcast(collectives, sent))
    wanted: dict[str, str] = found.about["large"]
    here = {digest: own.arrays[name] for name, digest in large.items()}
    arrays = {n: here[digest] for n, digest in wanted.items() if digest in here}
    if wanted:
        lacking = [n for n in wanted if n not in arrays] if is_keeper else []
        told = collectives.allgather_text(json.dumps(lacking))
        lacked = {name for text in told for name in json.loads(text)}
        for name in sorted(lacked):
            sent = (
                tensor_file.dump(Content({name: own.arrays[name]}, {}))
                if is_first
                else b""
            )
            arrays.update(tensor_file.parse(broadcast(collectives, sent)).arrays)
    arrays |= found.arrays
    if not is_keeper:
        arrays = {}
    names: list[Any] = [name for name in found.about["names"] if name in arrays]
    return Content({name: arrays[name] for name in names}, found.about["about"])


def _digest(array: Array) -> str:
    kind = f"{array.dtype.name} {array.shape} ".encode()
    return hashlib.blake2b(kind + array.tobytes(), digest_size=16).hexdigest()
