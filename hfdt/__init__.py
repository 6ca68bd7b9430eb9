"""HFDT: synchronous distributed training of single-machine Keras programs.

::

    import hfdt
    model = hfdt.distribute(model, optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=5)      # hfdt run -np 4 train.py

``model`` is the same ``keras.Model``, compiled. On one process it trains exactly as
Keras does. Importing this package starts neither Horovod nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` finds, for editors and type checkers
    from fdtcore.failures import RunError
    from hfdt.api import (
        allgather,
        allreduce,
        barrier,
        broadcast,
        distribute,
        init,
        local_rank,
        local_size,
        rank,
        run,
        shard,
        size,
    )
    from hfdt.options import Options

__version__ = "0.1.0"

_PUBLIC = {
    "Options": "hfdt.options",
    "RunError": "fdtcore.failures",
    "distribute": "hfdt.api",
    "run": "hfdt.api",
    "rank": "hfdt.api",
    "size": "hfdt.api",
    "local_rank": "hfdt.api",
    "local_size": "hfdt.api",
    "shard": "hfdt.api",
    "allreduce": "hfdt.api",
    "allgather": "hfdt.api",
    "broadcast": "hfdt.api",
    "barrier": "hfdt.api",
    "init": "hfdt.api",
}

__all__ = [
    "Options",
    "RunError",
    "__version__",
    "allgather",
    "allreduce",
    "barrier",
    "broadcast",
    "distribute",
    "init",
    "local_rank",
    "local_size",
    "rank",
    "run",
    "shard",
    "size",
]


if not TYPE_CHECKING:  # else a misspelt name would be one, of type Any

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            return getattr(importlib.import_module(_PUBLIC[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
