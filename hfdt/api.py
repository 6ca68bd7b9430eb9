"""The public functions of HFDT."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fdtcore import evidence
from fdtcore.keras_types import Dataset, Optimizer, Tensor
from fdtcore.launcher import function_job
from fdtcore.options import check_compile_arguments, keywords, listed
from fdtcore.shadow_files import patches
from hfdt import runtime
from hfdt.options import Options

Model = TypeVar("Model")
Result = TypeVar("Result")


def init() -> None:
    """Starts Horovod, if it is not started; :func:`distribute` does so as well."""
    runtime.engine()


def rank() -> int:
    """Returns this process's index in the job, from 0."""
    patches.release()
    return runtime.engine().process.rank


def size() -> int:
    """Returns the number of processes of the job."""
    return runtime.engine().process.size


def local_rank() -> int:
    """Returns this process's index among those on its host."""
    patches.release()
    return runtime.engine().process.local_rank


def local_size() -> int:
    """Returns the number of processes on this host."""
    return runtime.engine().process.local_size


@keywords(Options)
def distribute(
    model: Model,
    optimizer: Optimizer | str | None = None,
    loss: Any = None,
    *,
    metrics: Any = None,
    options: Options | None = None,
    batch: str = "global",
    lr_scale: float | str = 1.0,
    warmup_epochs: float = 0.0,
    compression: str = "none",
    bucket_bytes: int = 0,
    accumulate: int = 1,
    op: str = "mean",
    nonfinite: str = "raise",
    stall_timeout: float = 60.0,
    link_timeout: float = 15.0,
    interface: str = "",
    log: str = "none",
    stats: bool = False,
    trace: str = "",
    snapshot: str = "",
    snapshot_every: str = "30s",
    resume: str = "",
    process_sets: Sequence[Sequence[int]] | None = None,
    **compile_arguments: Any,
) -> Model:
    """Compiles a model so that it trains on all processes of the job.

    Args:
        model: The user's ``keras.Model``, before or after ``compile``.
        optimizer: Its optimizer, or a name Keras knows. It is distributed as well,
            with the optimizers that it or the model holds: a loop of the user's own
            may call their ``apply`` or ``apply_gradients``. None keeps a compiled
            model as it is.
        loss: Loss, as ``compile`` takes it.
        metrics: Metrics, as ``compile`` takes them.
        options: All options at once, in place of the keywords below.
        **compile_arguments: Further arguments of ``Model.compile``.

    Returns:
        ``model`` itself. ``fit`` returns the same History on every rank.

    Raises:
        ValueError: An option is out of range.
        TypeError: ``model`` is not a ``keras.Model``, or there are arguments of
            ``compile`` without an optimizer.
    """
    assert options is not None  # the decorator has read the keywords into it
    check_compile_arguments(Options, optimizer, compile_arguments)

    import keras

    from fdtcore.glue import bind, loops, refusals, state
    from hfdt import snapshots, traces
    from hfdt.refusals import check_horovod

    if not isinstance(model, keras.Model):
        raise TypeError(
            "distribute takes a keras.Model. "
            f"Received: {type(model).__name__}. Pass the model before compiling it."
        )
    engine = runtime.engine(options)
    engine.choose(options)
    snapshots.choose(engine, options)
    traces.choose(engine, options)
    refusals.check_strategy(engine.process, model.distribute_strategy)
    check_horovod(engine.process, [optimizer, getattr(model, "optimizer", None)])
    bound = bind.bind(engine)
    if engine.strategy.snapshots is not None:
        loops.install()
    bound.models.add(model)
    if optimizer is not None:
        optimizer = keras.optimizers.get(optimizer)
        bound.optimizers.add(optimizer)
        model.compile(optimizer, loss, metrics=metrics, **compile_arguments)
    if (held := state.compiled_with(model)) is not None:
        bound.optimizers.add(held)
    if model.built:
        # A loop of the user's own has no other moment at which all ranks meet.
        engine.strategy.initial_state.share(model)
    return model


@listed(Options)
@keywords(Options)
def run(
    function: Callable[..., Result],
    args: Sequence[Any] = (),
    *,
    np: int = 2,
    hosts: str | None = None,
    output: str | os.PathLike[str] | None = None,
    verbose: bool = False,
    options: Options | None = None,
    **choices: Any,
) -> list[Result]:
    """Calls a function on several processes, which train together what it fits.

    For notebooks and programs. The function trains as a script does under ``hfdt
    run``: it builds, compiles and fits a model, or passes it to
    :func:`distribute`. What rank 0 prints appears here; an interrupt ends every rank.

    Args:
        function: Runs on each rank, in new processes. On this machine it may be any
            that cloudpickle takes: of a notebook's cell, or a lambda.
        args: What it is called with, in order.
        np: Number of ranks.
        hosts: Machines and their slots, as ``"node1:2,node2:2"``; None for this one.
            Other machines import the function by its name, and its arguments and its
            result are plain data.
        output: Folder for the output of ranks 1, 2, ...; None for a new one in
            ``hfdt-logs``.
        verbose: Whether TensorFlow's and MPI's messages are shown.
        options: All options at once, in place of the keywords below.

    Returns:
        What the function returned on each rank, in the order of the ranks.

    Raises:
        TypeError: ``function`` is none, or a keyword is no option.
        ValueError: A value is out of range, or something cannot be pickled.
        RunError: A rank has failed, or the job could not start.
    """
    assert options is not None  # the decorator has read the keywords into it
    function_job.refuse_unknown(Options, choices)
    request = function_job.FunctionRequest(options, np, hosts, output, verbose)
    return function_job.run(function, args, request)


def run_script(target: str, args: list[str], *, module: bool) -> None:
    """Runs a single-machine program as this rank of the job.

    Args:
        target: Path of a script, or name of a module.
        args: The program's own arguments.
        module: Whether ``target`` is a module.
    """
    from fdtcore import user_program
    from fdtcore.glue import bind, checkpoints, file_views, loops, refusals
    from hfdt.refusals import refuse_init

    engine = runtime.engine(script=user_program.file_of(target, module=module))
    bind.bind(engine, everything=True)
    loops.install()
    if engine.process.size > 1:
        refusals.refuse_strategies()
        refuse_init()
        checkpoints.install(engine.process)
        file_views.install(engine.collectives, os.environ.get("HFDT_JOB_DIR"))
    user_program.run(target, args, module=module)


def shard(dataset: Dataset) -> Any:
    """Returns this rank's part of each batch of a ``tf.data.Dataset``.

    A gradient that is applied next weighs as much as the part that was read last. A
    batch with fewer samples than ranks goes to all of them, whole.
    """
    from fdtcore.glue import loops

    return loops.shard(dataset, runtime.engine().process)


def allreduce(tensor: Tensor, op: str = "mean", name: str = "user") -> Any:
    """Combines a tensor of all ranks: ``op`` is ``"mean"`` or ``"sum"``."""
    engine = runtime.engine()
    evidence.note_exchange()
    total = engine.collectives.sum([tensor], f"allreduce {name}")[0]
    return total / engine.process.size if op == "mean" else total


def allgather(tensor: Tensor, name: str = "user") -> Any:
    """Joins a tensor's rows over the ranks.

    In a step that ``fit`` runs, gradients flow through them to the rank they are of.
    """
    from fdtcore.glue import calls, rows
    from fdtcore.glue.step import shared

    engine, step = runtime.engine(), shared()
    evidence.note_exchange()
    if step is not None and engine.process.size > 1:
        return rows.shared(step, tensor)
    collectives = engine.collectives
    with calls.joined(collectives, f"allgather {name}"):
        return collectives.communicator.allgather([tensor], f"hfdt.{name}")[0]


def broadcast(tensor: Tensor, root_rank: int = 0, name: str = "user") -> Any:
    """Returns the tensor of rank ``root_rank``."""
    from fdtcore.glue import calls

    collectives = runtime.engine().collectives
    evidence.note_exchange()
    with calls.joined(collectives, f"broadcast {name}"):
        return collectives.communicator.broadcast(tensor, f"hfdt.{name}", root_rank)


def barrier() -> None:
    """Returns when every rank has called it."""
    runtime.engine().collectives.barrier()
