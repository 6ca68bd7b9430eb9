"""The function ``nfdt.simulate``: training on a simulated cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from fdtcore.keras_types import Model, Optimizer
from fdtcore.options import keywords
from nfdt import algorithms
from nfdt.algorithms import Algorithm
from nfdt.clusters import cluster_yaml
from nfdt.clusters.cluster import Cluster
from nfdt.options import Options
from nfdt.protocol.controllers import Controller
from nfdt.protocol.events import Event
from nfdt.telemetry.summary import Summary


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What a simulated training has given.

    Args:
        history: Keras's: name of a loss or metric -> its value after each epoch.
        events: The pushes, by the time of their release.
        summary: Updates a second, staleness, waiting.
        duration_s: How long the cluster would have taken, seconds.
    """

    history: dict[str, list[float]]
    events: list[Event]
    summary: Summary
    duration_s: float

    def __str__(self) -> str:
        return "\n".join(self.summary.lines())


@keywords(Options)
def simulate(
    model: Model,
    optimizer: Optimizer | str,
    loss: Any,
    data: Any,
    *,
    cluster: Cluster | str | Path,
    epochs: int = 1,
    metrics: Any = None,
    seed: int = 0,
    fit: dict[str, Any] | None = None,
    options: Options | None = None,
    algorithm: str | Algorithm = algorithms.DEFAULT,
    consistency: str | Controller = "asp",
    wire: str = "own",
    full_parameters: bool = False,
    local_steps: int = 1,
    worker_optimizer: Optimizer | str = "",
    server_optimizer: Optimizer | str = "",
    refuse_at_most: int = 10,
    trace: str = "",
    log: str = "none",
) -> Simulation:
    """Trains a model with real gradients as a cluster would, in virtual time.

    The server, controllers, rules and leases are those of a real run. Equal arguments
    give equal results, bit by bit: Keras's, NumPy's and Python's generators are seeded.

    Args:
        model: The ``keras.Model``, whose weights are trained.
        optimizer: Its optimizer, or a name Keras knows.
        loss: Loss, as ``compile`` takes it.
        data: ``(x, y)``, or whatever else ``Model.fit`` takes for ``x``.
        cluster: What it is trained on, or the path of a cluster file.
        epochs: Passes over the data.
        metrics: Metrics, as ``compile`` takes them.
        seed: Seed of all random numbers.
        fit: Further arguments of ``Model.fit``: ``batch_size``, ``callbacks`` ...
        options: All options at once, in place of the keywords below.

    Returns:
        What it has given. An interrupted training (Ctrl-C) leaves its trace.

    Raises:
        ValueError: An option or the cluster is wrong.
    """
    import keras

    from fdtcore.glue import bind
    from nfdt.glue import keras_loop
    from nfdt.simulation.glue.engine import SimulatedEngine

    if not isinstance(cluster, Cluster):
        cluster = cluster_yaml.read(cluster)
    assert options is not None  # the decorator has read the keywords into it
    engine = SimulatedEngine(options, cluster, seed)
    keras_loop.patch()
    given = (
        dict(zip("xy", data, strict=False)) if isinstance(data, tuple) else {"x": data}
    )
    try:
        with bind.lent(engine):
            model.compile(keras.optimizers.get(optimizer), loss, metrics=metrics)
            history = model.fit(**given, epochs=epochs, **(fit or {}))
    finally:
        engine.close()
    return Simulation(
        history.history, engine.events, engine.recording.summary, engine.simulator.now_s
    )
