"""The description of an optimizer for the servers: configuration and exclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fdtcore.glue import keras_internals
from fdtcore.keras_types import Optimizer, Variable
from nfdt.glue import learning_rates
from nfdt.glue.optimizer_state import path_of
from nfdt.glue.server_optimizer import deserialize

_SCALARS = (bool, int, float, str, type(None))


def config_of(optimizer: Optimizer) -> dict[str, Any]:
    """Returns an optimizer's configuration, from which a server makes it again.

    A rate that no server can compute stands in it as one that workers send.
    """
    if not learning_rates.is_of_script(optimizer):
        config = keras.optimizers.serialize(optimizer)
    else:
        own = keras_internals.rate_source(optimizer)
        optimizer.learning_rate = learning_rates.SentRate()
        try:
            config = keras.optimizers.serialize(optimizer)
        finally:
            optimizer.learning_rate = own
    kind = type(optimizer)
    if config["module"] is None and kind.__module__ != "__main__":
        # Keras leaves it out for what is registered; a server has to import it.
        config |= {"module": kind.__module__, "class_name": kind.__qualname__}
    return dict(config)


def check(optimizer: Optimizer, config: Mapping[str, Any]) -> None:
    """Refuses an optimizer that its configuration does not tell all of.

    Raises:
        ValueError: The configuration does not reproduce the optimizer.
    """
    again = deserialize(config)
    for name, value in vars(optimizer).items():
        found = getattr(again, name, None)
        if name != "built" and _is_plain(value) and _is_plain(found) and value != found:
            raise ValueError(
                "a server makes the optimizer from its configuration. Received: "
                f"{type(optimizer).__name__} with {name}={value!r}, which would be "
                f"{found!r} there. Return {name} from its get_config."
            )


def undecayed(optimizer: Optimizer, variables: Sequence[Variable]) -> list[str]:
    """Returns the paths of the variables that are excluded from weight decay."""
    return [
        path_of(v) for v in variables if not keras_internals.is_decayed(optimizer, v)
    ]


def check_unchanged(optimizer: Optimizer, opened: Mapping[str, Any]) -> None:
    """Refuses an optimizer that is another one than the servers have.

    Args:
        optimizer: The user's optimizer, as it is now.
        opened: Its configuration when it began to train. The rate may change, but no
            longer where the servers compute it.

    Raises:
        ValueError: The optimizer has changed.
    """
    before, now = opened["config"], config_of(optimizer)["config"]
    is_served = learning_rates.is_served(opened)
    for name in now:
        if name == "learning_rate" and not is_served:
            continue
        if now[name] != before.get(name):
            raise ValueError(
                "the servers keep an optimizer as it was when it began to train. "
                f"Received: {name}={now[name]!r}, which was {before.get(name)!r}. "
                "Compile the model with a new optimizer."
            )


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(one, _SCALARS) for one in value)
    return isinstance(value, _SCALARS)
