"""The refusal of programs that use Horovod themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from fdtcore.process import Process

_WAY_OUT = "Remove Horovod from the script, or run it unchanged with horovodrun."


def check_horovod(process: Process, parts: Iterable[Any]) -> None:
    """Refuses optimizers and callbacks that are Horovod's, in a job of several ranks.

    Args:
        process: This process: its rank, the number of ranks, its host.
        parts: What the user gave to ``distribute`` or ``fit``.

    Raises:
        RuntimeError: An object is one of Horovod's own.
    """
    for part in parts:
        # The class of a DistributedOptimizer is made at run time, in this module.
        is_horovods = type(part).__module__.partition(".")[0] == "horovod"
        if is_horovods and process.size > 1:
            raise RuntimeError(
                "HFDT averages gradients by itself. Received: Horovod's own "
                f"{type(part).__name__}. {_WAY_OUT}"
            )


def refuse_init() -> None:
    """Makes a script that starts Horovod by itself end there, once HFDT has."""
    import horovod.tensorflow as hvd

    hvd.init = hvd.mpi_ops.init = _refuse_init


def _refuse_init(*args: Any, **kwargs: Any) -> NoReturn:
    del args, kwargs
    raise RuntimeError(
        "a script that HFDT runs must not start Horovod. Received: a call of "
        f"hvd.init(). {_WAY_OUT}"
    )
