"""The public functions of NFDT."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fdtcore.keras_types import Optimizer
from fdtcore.launcher import function_job
from fdtcore.options import check_compile_arguments, keywords, listed
from fdtcore.shadow_files import patches
from nfdt import algorithms
from nfdt.algorithms import Algorithm
from nfdt.cluster import runtime
from nfdt.options import Options
from nfdt.protocol.controllers import Controller

Model = TypeVar("Model")
Result = TypeVar("Result")


def init() -> None:
    """Starts this process's part of the job; a server ends here, when it has served."""
    runtime.engine()


def rank() -> int:
    """Returns this worker's index among the workers, from 0."""
    patches.release()
    return runtime.engine().process.rank


def size() -> int:
    """Returns the number of workers.

    A loop of a script that asks for it is taken to divide its work by itself, where
    fit does not do so.
    """
    engine = runtime.engine()
    engine.replicated_steps.is_divided = True
    return engine.process.size


@keywords(Options)
def distribute(
    model: Model,
    optimizer: Optimizer | str | None = None,
    loss: Any = None,
    *,
    metrics: Any = None,
    options: Options | None = None,
    algorithm: str | Algorithm = algorithms.DEFAULT,
    consistency: str | Controller = "asp",
    servers: int = 1,
    wire: str = "own",
    full_parameters: bool = False,
    local_steps: int = 1,
    worker_optimizer: Optimizer | str = "",
    server_optimizer: Optimizer | str = "",
    overlap: bool = False,
    on_worker_loss: str = "continue",
    stall_timeout: float = 60.0,
    link_timeout: float = 15.0,
    interface: str = "",
    refuse_at_most: int = 10,
    trace: str = "",
    log: str = "none",
    checkpoint: str = "",
    checkpoint_every: float = 30.0,
    resume: str = "",
    **compile_arguments: Any,
) -> Model:
    """Compiles a model so that it trains through a parameter server.

    On a process that serves it does not return: it serves, and ends the process.

    Args:
        model: The user's ``keras.Model``, before or after ``compile``.
        optimizer: Its optimizer, or a name Keras knows; it runs on the server, and so
            do the optimizers that it or the model holds. None keeps a compiled model
            as it is.
        loss: Loss, as ``compile`` takes it.
        metrics: Metrics, as ``compile`` takes them.
        options: All options at once, in place of the keywords below.
        **compile_arguments: Further arguments of ``Model.compile``.

    Returns:
        ``model`` itself.

    Raises:
        ValueError: An option is out of range.
        TypeError: ``model`` is not a ``keras.Model``, or there are arguments of
            ``compile`` without an optimizer.
    """
    assert options is not None  # the decorator has read the keywords into it
    check_compile_arguments(Options, optimizer, compile_arguments)
    engine = runtime.engine(options)

    import keras

    from fdtcore.glue import bind, refusals, state
    from nfdt.glue import keras_loop

    if not isinstance(model, keras.Model):
        raise TypeError(
            "distribute takes a keras.Model. "
            f"Received: {type(model).__name__}. Pass the model before compiling it."
        )
    engine.choose(options)
    refusals.check_strategy(engine.process, model.distribute_strategy)
    bound = bind.bind(engine)
    keras_loop.patch()
    bound.models.add(model)
    if optimizer is not None:
        optimizer = keras.optimizers.get(optimizer)
        model.compile(optimizer, loss, metrics=metrics, **compile_arguments)
    if (held := state.compiled_with(model)) is not None:
        bound.optimizers.add(held)
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
) -> list[Result | None]:
    """Calls a function on several workers, which train what it fits through a server.

    For notebooks and programs. The function trains as a script does under ``nfdt
    run``: it builds, compiles and fits a model, or passes it to
    :func:`distribute`. What worker 0 prints appears here; an interrupt ends every
    process.

    Args:
        function: Runs on each worker, in new processes. On this machine it may be
            any that cloudpickle takes: of a notebook's cell, or a lambda.
        args: What it is called with, in order.
        np: Number of workers; there are ``servers`` more processes.
        hosts: Machines and their slots, as ``"node1:2,node2:2"``; None for this one.
            Other machines import the function by its name, and its arguments and its
            result are plain data.
        output: Folder for the output of the processes but worker 0; None for a new
            one in ``nfdt-logs``.
        verbose: Whether TensorFlow's and MPI's messages are shown.
        options: All options at once, in place of the keywords below.

    Returns:
        What the function returned on each worker, in the order of the workers; None
        for one that was lost while the others went on.

    Raises:
        TypeError: ``function`` is none, or a keyword is no option.
        ValueError: A value is out of range, or something cannot be pickled.
        RunError: A worker has failed, or the job could not start.
    """
    assert options is not None  # the decorator has read the keywords into it
    function_job.refuse_unknown(Options, choices)
    may_lose = options.on_worker_loss == "continue"
    request = function_job.FunctionRequest(
        options, np, hosts, output, verbose, may_lose
    )
    return function_job.run(function, args, request)


def run_script(target: str, args: list[str], *, module: bool) -> None:
    """Runs a single-machine program as this worker of the job.

    Args:
        target: Path of a script, or name of a module.
        args: The program's own arguments.
        module: Whether ``target`` is a module.
    """
    engine = runtime.engine()

    from fdtcore import user_program
    from fdtcore.glue import bind, checkpoints, file_views, loops, refusals
    from nfdt.glue import keras_loop

    bind.bind(engine, everything=True)
    keras_loop.patch()
    loops.install()
    if engine.process.size > 1:
        refusals.refuse_strategies()
        checkpoints.install(engine.process)
        file_views.install(engine.collectives, os.environ.get("NFDT_JOB_DIR"))
    user_program.run(target, args, module=module)


def barrier() -> None:
    """Returns when every worker that is left has called it."""
    runtime.engine().collectives.barrier()
