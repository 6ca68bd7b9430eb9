"""A job that is to run in pods of Kubernetes, and what its parts must look like."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

_LONGEST_NAME = 40  # with what is added for a pod, a DNS label of at most 63
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")


@dataclasses.dataclass(frozen=True)
class PodJob:
    """What is to run in pods.

    Args:
        name: Name of the job, and the beginning of its pods' names.
        image: Image with the framework and the program, as examples/Dockerfile makes.
        program: Name of the framework's command.
        command: The user's program and its arguments, as ``run`` takes them.
        size: Number of processes, servers of a framework that has some included.
        np: What ``run`` is told by ``-np``.
        slots: Processes in one pod.
        variables: Options of the framework, as the variables that it reads.
        forward: Names of variables whose values a Secret has, for every process.
        resources: What a pod with processes gets, by Kubernetes' names and in its
            units, such as ``{"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}``.
        volume: Volume claim and where each pod has it, as ``CLAIM:/FOLDER``; empty for
            none.
        output: Folder, in a pod, for the output of the ranks but 0; empty for the
            usual one.
        rank_module: Module of the framework that runs one rank without MPI; empty where
            it has none.
    """

    name: str
    image: str
    program: str
    command: tuple[str, ...]
    size: int
    np: int
    slots: int = 1
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    forward: tuple[str, ...] = ()
    resources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    volume: str = ""
    output: str = ""
    rank_module: str = ""

    @property
    def pods(self) -> int:
        """Number of pods with processes."""
        return -(-self.size // self.slots)


def job_name(text: str) -> str:
    """Returns a name for a job that Kubernetes takes, made from another name.

    >>> job_name("My_Train.v2")
    'my-train-v2'
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"job-{name}".rstrip("-")
    return name[:_LONGEST_NAME].rstrip("-")


def check(job: PodJob) -> None:
    """Refuses what Kubernetes would refuse.

    Args:
        job: Job that is to run.

    Raises:
        ValueError: A name, an amount or a number is none that Kubernetes takes.
    """
    if not _NAME.fullmatch(job.name) or len(job.name) > _LONGEST_NAME:
        raise ValueError(
            "the name of a job must have at most 40 small letters, digits and hyphens, "
            f"with a letter first. Received: {job.name}. Try: {job_name(job.name)}."
        )
    if not job.image or re.search(r"\s", job.image):
        raise ValueError(
            "the image must be a name that a pod can fetch. "
            f"Received: {job.image!r}. Example: registry.example.com/train:1."
        )
    if min(job.size, job.np, job.slots) < 1 or not job.command:
        raise ValueError(
            "a job must have a program, processes, and room for one in each pod. "
            f"Received: {' '.join(job.command)!r}, {job.size} processes, "
            f"{job.slots} in a pod."
        )
    for name in (*job.variables, *job.forward):
        if not _VARIABLE.fullmatch(name):
            raise ValueError(
                "a variable must have a name of letters, digits and underscores. "
                f"Received: {name}. Write the name alone."
            )
    for name, amount in job.resources.items():
        if not _QUANTITY.fullmatch(amount):
            raise ValueError(
                "an amount must be a number, alone or with a unit of Kubernetes. "
                f"Received: {name}={amount}. Examples: cpu=4, memory=8Gi."
            )
    if job.volume and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*:/[^:]*", job.volume):
        raise ValueError(
            "a volume must be written CLAIM:/FOLDER. "
            f"Received: {job.volume}. Example: datasets:/data."
        )
