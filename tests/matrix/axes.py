"""What a program may be made of, and how it may be run: the axes of the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Cell = Mapping[str, str]  # axis -> value


class Way(NamedTuple):
    """A framework, and how many processes of it."""

    framework: str
    workers: int
    servers: int = 0
    is_simulated: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether its numbers are those of plain Keras."""
        return self.framework == "hfdt" or self.workers == 1


WAYS = {
    "hfdt 2": Way("hfdt", 2),
    "hfdt 3": Way("hfdt", 3),
    "nfdt 1": Way("nfdt", 1, 1),
    "nfdt 2": Way("nfdt", 2, 1),
    "nfdt 3": Way("nfdt", 3, 1),
    "nfdt 2, 2 servers": Way("nfdt", 2, 2),
    "nfdt simulated 4": Way("nfdt", 4, 1, is_simulated=True),
}

AXES = {
    "way": tuple(WAYS),
    "form": ("unchanged", "explicit"),
    "launch": ("run", "mpirun"),
    "optimizer": (
        *("sgd", "sgd_momentum", "rmsprop", "adam", "adamw", "adadelta", "adagrad"),
        *("adamax", "adafactor", "nadam", "ftrl", "lion", "lamb", "muon"),
        *("schedule_free", "multi", "loss_scale", "own_subclass", "own_wrapper"),
    ),
    "rate": ("number", "schedule", "own_schedule", "callback"),
    "option": (
        *("none", "clipnorm", "clipvalue", "global_clipnorm", "decay_exclusions"),
        *("ema", "accumulation", "loss_scale_factor"),
    ),
    "data": (
        *("arrays", "dataset", "unknown_length", "py_dataset", "generator", "dict"),
        *("ragged", "sparse"),
    ),
    "training": (
        *("fit", "train_step", "two_optimizers", "eager_loop", "graph_loop"),
        "on_batch",
    ),
    "metric": (
        *("keras", "own_sum", "own_mean", "own_max", "tracker", "dict_result"),
        "named_loss",
    ),
}
WHOLE_VARIABLES = ("adafactor", "lamb", "muon")
LOOPS = ("eager_loop", "graph_loop")

# Values that no program joins, and why.
EXCLUDED: tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...] = (
    (
        "there is one command that simulates",
        {"way": ("nfdt simulated 4",), "launch": ("mpirun",)},
    ),
    (
        "a simulation has one optimizer, which makes one push a batch",
        {
            "way": ("nfdt simulated 4",),
            "training": ("two_optimizers", *LOOPS, "on_batch"),
        },
    ),
    (
        "a simulation has one optimizer, which makes one push a batch",
        {"way": ("nfdt simulated 4",), "optimizer": ("multi",)},
    ),
    (
        "several servers need a step that treats each parameter alone",
        {"way": ("nfdt 2, 2 servers",), "optimizer": WHOLE_VARIABLES},
    ),
    (
        "several servers need a step that treats each parameter alone",
        {"way": ("nfdt 2, 2 servers",), "option": ("clipnorm", "global_clipnorm")},
    ),
    (
        "Keras scales a loss once",
        {"optimizer": ("loss_scale", "own_wrapper"), "option": ("loss_scale_factor",)},
    ),
    (
        "Keras does not unscale the gradient of a sparse input",
        {"option": ("loss_scale_factor",), "data": ("sparse",)},
    ),
    (
        "Keras's MultiOptimizer trains all variables of a model",
        {"optimizer": ("multi",), "training": ("two_optimizers",)},
    ),
    (
        "Keras's MultiOptimizer has no rate of its own",
        {"optimizer": ("multi",), "rate": ("callback",)},
    ),
    (
        "a loop keeps no metrics",
        {
            "training": LOOPS,
            "metric": (
                *("own_sum", "own_mean", "own_max", "tracker", "dict_result"),
                "named_loss",
            ),
        },
    ),
    (
        "a tracker is fed by a step of one's own",
        {"training": ("fit", "on_batch"), "metric": ("tracker",)},
    ),
)


# Of the ways to start a program, those of the small table: each way in both forms and,
# where there is a choice, by both commands.
STARTS = {
    ("unchanged", "run"): ("hfdt 2", "nfdt 1", "nfdt 3", "nfdt simulated 4"),
    ("explicit", "mpirun"): ("hfdt 2", "nfdt 1", "nfdt 3"),
    ("unchanged", "mpirun"): ("hfdt 3", "nfdt 2", "nfdt 2, 2 servers"),
    ("explicit", "run"): ("hfdt 3", "nfdt 2", "nfdt 2, 2 servers", "nfdt simulated 4"),
}


def not_started(cell: Cell) -> str | None:
    """As :func:`excluded`, and leaves out starts that the small table does without."""
    starts = [
        form_and_launch
        for form_and_launch, ways in STARTS.items()
        if cell.get("form", form_and_launch[0]) == form_and_launch[0]
        and cell.get("launch", form_and_launch[1]) == form_and_launch[1]
        and cell.get("way", ways[0]) in ways
    ]
    return excluded(cell) if starts else "each start takes seconds"


def excluded(cell: Cell) -> str | None:
    """Returns why a cell, or a part of one, is no program; None where it is one."""
    for why, pattern in EXCLUDED:
        if all(cell.get(axis) in values for axis, values in pattern.items()):
            return why
    return None


def name_of(cell: Cell) -> str:
    """Returns a cell as one line."""
    return " | ".join(cell[axis] for axis in AXES)


def named(name: str) -> dict[str, str]:
    """Returns the cell of a name, as :func:`name_of` makes it.

    Raises:
        ValueError: There is no such cell.
    """
    values = name.split(" | ")
    if len(values) != len(AXES):
        raise ValueError(f"a cell has {len(AXES)} values. Received: {name!r}.")
    for (axis, known), value in zip(AXES.items(), values, strict=True):
        if value not in known:
            raise ValueError(f"{axis} is one of {known}. Received: {value!r}.")
    return dict(zip(AXES, values, strict=True))
