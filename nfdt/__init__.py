"""NFDT: asynchronous distributed training through a parameter server.

::

    import nfdt
    model = nfdt.distribute(model, optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=5)      # nfdt run -np 4 train.py

``model`` is the same ``keras.Model``, compiled. Each worker sends its gradients to a
server and goes on; what arrives late is compensated. Importing this package starts
neither MPI nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` finds, for editors and type checkers
    from fdtcore.failures import RunError
    from nfdt.algorithms import Algorithm, ddc_asgd
    from nfdt.api import barrier, distribute, init, rank, run, size
    from nfdt.options import Options
    from nfdt.simulation.glue.api import simulate

__version__ = "0.1.0"

_PUBLIC = {
    "Options": "nfdt.options",
    "Algorithm": "nfdt.algorithms",
    "ddc_asgd": "nfdt.algorithms",
    "RunError": "fdtcore.failures",
    "distribute": "nfdt.api",
    "run": "nfdt.api",
    "init": "nfdt.api",
    "rank": "nfdt.api",
    "size": "nfdt.api",
    "barrier": "nfdt.api",
    "simulate": "nfdt.simulation.glue.api",
}

__all__ = [
    "Algorithm",
    "Options",
    "RunError",
    "__version__",
    "barrier",
    "ddc_asgd",
    "distribute",
    "init",
    "rank",
    "run",
    "simulate",
    "size",
]


if not TYPE_CHECKING:  # else a misspelt name would be one, of type Any

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            return getattr(importlib.import_module(_PUBLIC[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
