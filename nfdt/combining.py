"""Which choices go together; where they do not, a reason and a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfdt import algorithms
from nfdt.protocol.controllers import (
    Asynchronous,
    DynamicSynchronous,
    StaleSynchronous,
)

if TYPE_CHECKING:
    from nfdt.options import Options


def check(options: Options) -> None:
    """Refuses choices that do not go together.

    Raises:
        ValueError: Some do not.
    """
    _check_waiting(options)
    _check_own_steps(options)
    _check_overlap(options)


def _check_waiting(options: Options) -> None:
    algorithm, controller = algorithms.find(options.algorithm), options.controller
    waits = not isinstance(controller, Asynchronous)
    _refuse(
        waits and options.servers > 1,
        "who waits is decided by one server",
        f"consistency={options.consistency!r} with {options.servers} servers",
        "Use one server, or consistency asp.",
    )
    _refuse(
        waits and algorithm.sends == algorithms.ELASTIC,
        f"{algorithm.name} exchanges parameters without waiting",
        f"algorithm={algorithm.name} with consistency={options.consistency!r}",
        "Use consistency asp, or local:8 with another algorithm.",
    )


def _check_own_steps(options: Options) -> None:
    algorithm, controller = algorithms.find(options.algorithm), options.controller
    apart = [
        f"{name}={getattr(options, name)!r}"
        for name in ("worker_optimizer", "server_optimizer")
        if getattr(options, name)
    ]
    consistency = f"consistency={options.consistency!r}"
    own = ", ".join([consistency, f"local_steps={options.local_steps}", *apart])
    _refuse(
        options.trains_locally and algorithm.sends == algorithms.LOOKAHEAD,
        f"{algorithm.name} sends the gradient of each step",
        f"algorithm={algorithm.name} where workers make steps of their own: {own}",
        "Use another algorithm, or bsp or ssp:3 without steps of their own.",
    )
    _refuse(
        controller.paces and options.local_steps > 1,
        "the controller decides when workers merge their own steps",
        f"local_steps={options.local_steps} with {consistency}",
        "Use one of them: local:8, or local_steps=8 with bsp, ssp:3 or asp.",
    )
    _refuse(
        isinstance(controller, DynamicSynchronous) and bool(apart),
        "dsp adds up what the user's optimizer has done on each worker",
        f"{', '.join(apart)} with {consistency}",
        "Use local:8 with that, or dsp without.",
    )


def _check_overlap(options: Options) -> None:
    in_rounds = not isinstance(options.controller, Asynchronous | StaleSynchronous)
    _refuse(
        options.overlap and in_rounds,
        "a round is of gradients computed after the round before",
        f"overlap with consistency={options.consistency!r}",
        "Use consistency asp or ssp:3, or leave overlap out.",
    )
    _refuse(
        options.overlap and options.trains_locally,
        "overlap hides the exchange of each step's gradient",
        f"overlap where workers make steps of their own, local_steps="
        f"{options.local_steps} of them or more between two exchanges",
        "Leave overlap out.",
    )


def _refuse(holds: bool, rule: str, received: str, way_out: str) -> None:
    if holds:
        raise ValueError(f"{rule}. Received: {received}. {way_out}")
