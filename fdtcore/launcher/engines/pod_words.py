"""The words behind ``--on kubernetes=``: a kind of manifest, options of its pods."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from typing import NoReturn

from fdtcore.launcher.engines.kubernetes import KINDS


@dataclasses.dataclass(frozen=True)
class PodWords:
    """What is chosen of a manifest beside the job itself.

    Args:
        kind: One of `KINDS`.
        image: Image with the framework and the program.
        name: Of the job; empty for one made from the program's.
        slots: Processes in one pod.
        resources: What a pod with processes gets, by Kubernetes' names.
        volume: Volume claim and where each pod has it; empty for none.
    """

    kind: str
    image: str
    name: str
    slots: int
    resources: dict[str, str]
    volume: str


class _Words(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(
            "--on kubernetes= takes a kind and options of its pods. Received: "
            f"{message}. Example: --on 'kubernetes=mpijob --image IMAGE --slots 2'."
        )


def parse(text: str) -> PodWords:
    """Reads the words.

    Args:
        text: What stands behind ``kubernetes=``.

    Raises:
        ValueError: A word is none of those that are known, or the image is missing.
    """
    words = _Words(add_help=False, allow_abbrev=False)
    words.add_argument("kind", nargs="?", default="mpijob", choices=list(KINDS))
    words.add_argument("--image", required=True)
    words.add_argument("--name", default="")
    words.add_argument("--slots", type=int, default=1)
    words.add_argument("--resources", type=_amounts, default={})
    words.add_argument("--volume", default="")
    return PodWords(**vars(words.parse_args(shlex.split(text))))


def _amounts(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and amount for name, _, amount in pairs):
        raise argparse.ArgumentTypeError(f"{text}, not NAME=AMOUNT,NAME=AMOUNT")
    return {name: amount for name, _, amount in pairs}
