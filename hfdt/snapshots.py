"""The snapshots of a job of HFDT, as its options ask for them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore import shutdown
from fdtcore.glue import snapshot_choice, snapshots
from fdtcore.snapshots.cadence import Cadence
from fdtcore.snapshots.stop_requests import STOPPED_CODE
from hfdt.engine import HorovodEngine
from hfdt.options import Options

# The options that change what is computed.
_OF_NUMBERS = (
    *("batch", "lr_scale", "warmup_epochs", "compression"),
    *("accumulate", "op", "nonfinite"),
)


def begin(engine: HorovodEngine, options: Options, script: str) -> int:
    """Lets an engine take snapshots, and go on from those of an earlier run.

    Args:
        engine: What this process trains with.
        options: The user's options of HFDT, the same on every rank.
        script: File of the program; empty for that which runs already.

    Returns:
        What the random generators of the job begin with.

    Raises:
        JobError: The folder cannot be used, or its snapshots are of another program.
    """

    def end() -> None:
        engine.line.interrupt()
        shutdown.leave(STOPPED_CODE)

    about = _about(options, script)
    found = snapshot_choice.opened(
        engine.collectives, options.snapshots, options.resume, about
    )
    strategy = engine.strategy
    strategy.snapshots = snapshots.Snapshots(
        engine.collectives,
        strategy.initial_state,
        Cadence.parse(options.snapshot_every),
        found,
        about,
        end,
        os.environ.get("HFDT_PROGRESS", ""),
        strategy.compression,
    )
    return found.seed


def choose(engine: HorovodEngine, options: Options) -> None:
    """Takes snapshots from now on, where a call of ``distribute`` asks for them."""
    if options.snapshots and engine.strategy.snapshots is None:
        begin(engine, options, "")


def _about(options: Options, script: str) -> dict[str, Any]:
    file = Path(script or getattr(sys.modules["__main__"], "__file__", None) or "")
    content = file.read_bytes() if file.is_file() else b""
    chosen = dataclasses.asdict(options)
    return {
        "script": f"{file.name} {hashlib.sha256(content).hexdigest()[:12]}",
        "python": ".".join(platform.python_version_tuple()[:2]),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        **{name: chosen[name] for name in _OF_NUMBERS},
    }
