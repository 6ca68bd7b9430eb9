"""Manifests for Kubernetes: a job as YAML that ``kubectl apply -f -`` takes.

==========  ====================================================================
mpijob      an MPIJob of Kubeflow's MPI operator: ``run`` in a launcher pod
trainjob    a TrainJob of Kubeflow Trainer, with a TrainingRuntime of its own
job         an Indexed Job and a headless Service, without any operator: a rank
            in each pod, which finds the first one by its name
==========  ====================================================================

Pure: a `PodJob` in, text out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from fdtcore.launcher.engines import yaml_text
from fdtcore.launcher.engines.pod_job import PodJob, check

Fields = dict[str, Any]

# What an image must agree with; examples/Dockerfile makes one.
USER_ID = 1000
SSH_FOLDER = "/home/mpiuser/.ssh"
SSHD = ("/usr/sbin/sshd", "-De", "-f", "/home/mpiuser/.sshd_config")
SSH_PORT = 2222
# Both operators put it there. The variables by which they name it are those of Open MPI
# 4, which Open MPI 5 ignores.
HOSTFILE = "/etc/mpi/hostfile"

_INSTANCE = "app.kubernetes.io/instance"


def manifest(kind: str, job: PodJob) -> str:
    """Returns what ``kubectl apply -f -`` takes.

    Args:
        kind: One of `KINDS`.
        job: Job to run.

    Raises:
        ValueError: Kubernetes would refuse the job, or this kind cannot run it.
    """
    if kind not in KINDS:
        raise ValueError(
            f"the kind must be one of {', '.join(KINDS)}. Received: {kind}."
        )
    check(job)
    documents, title, logs, ends = KINDS[kind](job)
    size = f"{job.size} process{'es' * (job.size > 1)}"
    pods = f"{job.pods} pod{'s' * (job.pods > 1)}"
    lines = [f"{title}: {size} in {pods}."]
    if job.forward:
        secret = f"kubectl create secret generic {job.name}-env"
        lines += [
            f"Before:      {secret} --from-env-file=FILE",
            f"             with a line NAME=VALUE for: {', '.join(job.forward)}",
        ]
    lines += [
        "Start it:    kubectl apply -f FILE, or pipe this text to: kubectl apply -f -",
        f"See output:  kubectl logs -f {logs}",
        f"Remove it:   kubectl delete {ends}",
    ]
    return yaml_text.dump(documents, "\n".join(lines))


Kind = tuple[
    list[Fields], str, str, str
]  # documents, title, whose logs, what to delete


def _mpijob(job: PodJob) -> Kind:
    launcher = _pod(job, "launcher", _launcher_words(job), _environment(job))
    worker = _worker(job, "worker")
    spec = {
        "slotsPerWorker": job.slots,
        "mpiImplementation": "OpenMPI",
        "sshAuthMountPath": SSH_FOLDER,
        "launcherCreationPolicy": "WaitForWorkersReady",
        "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": 0},
        "mpiReplicaSpecs": {
            "Launcher": {"replicas": 1, "restartPolicy": "Never", "template": launcher},
            "Worker": {
                "replicas": job.pods,
                "restartPolicy": "Never",
                "template": worker,
            },
        },
    }
    document = _document("kubeflow.org/v2beta1", "MPIJob", job.name, spec)
    title = "MPIJob of Kubeflow's MPI operator"
    return [document], title, f"job/{job.name}-launcher", f"mpijob {job.name}"


def _trainjob(job: PodJob) -> Kind:
    group = "trainer.kubeflow.org"
    # Trainer knows both by these names: the jobs, and the container of each.
    launcher = _once(_pod(job, "node", (), []))
    # What the TrainJob says of the command is for the job with this label.
    label = {f"{group}/trainjob-ancestor-step": "trainer"}
    runtime = {
        "mlPolicy": {
            "mpi": {
                "mpiImplementation": "OpenMPI",
                "sshAuthMountPath": SSH_FOLDER,
                "runLauncherAsNode": False,
            }
        },
        "template": {
            "spec": {
                "network": {"publishNotReadyAddresses": True},
                "successPolicy": {
                    "operator": "All",
                    "targetReplicatedJobs": ["launcher"],
                },
                "failurePolicy": {"maxRestarts": 0},
                "replicatedJobs": [
                    {"name": "node", "template": _once(_worker(job, "node"))},
                    {
                        "name": "launcher",
                        "dependsOn": [{"name": "node", "status": "Ready"}],
                        "template": {"metadata": {"labels": label}, **launcher},
                    },
                ],
            }
        },
    }
    wanted = {
        "runtimeRef": {"apiGroup": group, "kind": "TrainingRuntime", "name": job.name},
        "trainer": {
            "numNodes": job.pods,
            "numProcPerNode": job.slots,
            "command": _escaped(_launcher_words(job)),
            **_if_any("env", _environment(job)),
        },
    }
    version = f"{group}/v1alpha1"
    documents = [
        _document(version, "TrainingRuntime", job.name, runtime),
        _document(version, "TrainJob", job.name, wanted),
    ]
    ends = f"trainjob/{job.name} trainingruntime/{job.name}"
    title = "TrainJob of Kubeflow Trainer, with its TrainingRuntime"
    return documents, title, f"job/{job.name}-launcher-0", ends


def _indexed_job(job: PodJob) -> Kind:
    if not job.rank_module:
        raise ValueError(
            "a Job without an operator needs ranks that find each other without MPI. "
            f"Received: {job.program}, whose processes speak MPI. Use the kind mpijob "
            "or trainjob."
        )
    if job.slots > 1:
        raise ValueError(
            "a Job without an operator has one process in each pod. "
            f"Received: {job.slots} processes in a pod. Use the kind mpijob or "
            "trainjob."
        )
    first = f"{job.name}-0.{job.name}"
    words = ("python", "-m", job.rank_module, str(job.size), first, *job.command)
    variables = dict(job.variables)
    if job.output:
        variables[f"{job.program.upper()}_JOB_DIR"] = job.output
    own = dataclasses.replace(job, variables=variables)
    pod = _pod(own, "rank", words, _environment(own), has_processes=True)
    label = {_INSTANCE: job.name}
    # Pods have names of their own only within the Service that they name.
    pod = {
        "metadata": {"labels": label},
        "spec": {"subdomain": job.name, "restartPolicy": "Never", **pod["spec"]},
    }
    spec = {
        "completionMode": "Indexed",
        "completions": job.size,
        "parallelism": job.size,
        # The ranks need each other: none is started again alone.
        "backoffLimit": 0,
        "template": pod,
    }
    service = {
        "clusterIP": "None",
        # No rank is ready before it has found the first one.
        "publishNotReadyAddresses": True,
        "selector": label,
    }
    # Gloo takes every connection for one of a rank.
    policy = {
        "podSelector": {"matchLabels": label},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": label}}]}],
    }
    documents = [
        _document("v1", "Service", job.name, service),
        _document("networking.k8s.io/v1", "NetworkPolicy", job.name, policy),
        _document("batch/v1", "Job", job.name, spec),
    ]
    # Without the last one kubectl follows at most five pods.
    logs = (
        f"-l batch.kubernetes.io/job-name={job.name} --prefix "
        f"--max-log-requests={job.size}"
    )
    ends = " ".join(
        f"{kind}/{job.name}" for kind in ("job", "service", "networkpolicy")
    )
    return documents, "Indexed Job", logs, ends


KINDS: dict[str, Callable[[PodJob], Kind]] = {
    "mpijob": _mpijob,
    "trainjob": _trainjob,
    "job": _indexed_job,
}


def _launcher_words(job: PodJob) -> tuple[str, ...]:
    wait = ("python", "-m", "fdtcore.launcher.engines.host_wait")
    names = [word for name in job.forward for word in ("-x", name)]
    output = ("--output", job.output) if job.output else ()
    return (
        *(*wait, HOSTFILE, str(SSH_PORT)),
        *(job.program, "run", "-np", str(job.np), "--hostfile", HOSTFILE),
        *(*names, *output, *job.command),
    )


def _worker(job: PodJob, container: str) -> Fields:
    """Returns a pod that waits for processes; ``run`` brings their environment."""
    pod = _pod(job, container, SSHD, [], has_processes=True)
    (only,) = pod["spec"]["containers"]
    only["readinessProbe"] = {"tcpSocket": {"port": SSH_PORT}, "periodSeconds": 2}
    return pod


def _once(pod: Fields) -> Fields:
    """Returns a template of a Job whose pod is not started again."""
    pod = {"spec": {"restartPolicy": "Never", **pod["spec"]}}
    return {"spec": {"backoffLimit": 0, "template": pod}}


def _pod(
    job: PodJob,
    container: str,
    words: tuple[str, ...],
    environment: list[Fields],
    *,
    has_processes: bool = False,
) -> Fields:
    volumes: list[Fields] = []
    mounts: list[Fields] = []
    if job.volume:
        claim, _, folder = job.volume.partition(":")
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": "data", "mountPath": folder})
    if has_processes and job.slots > 1:
        # Processes of one pod talk through it, and it has 64 MB otherwise.
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    resources = dict(job.resources) if has_processes else {}
    only = {
        "name": container,
        "image": job.image,
        **_if_any("command", _escaped(words)),
        **_if_any("env", environment),
        **_if_any("resources", {"limits": resources} if resources else {}),
        **_if_any("volumeMounts", mounts),
    }
    # The keys of ssh belong to root: its group may read them.
    user = {"runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID}
    spec = {
        "securityContext": user,
        # Else a Service named hfdt-x gives a pod HFDT_X_PORT, which is no option.
        "enableServiceLinks": False,
        "containers": [only],
        **_if_any("volumes", volumes),
    }
    return {"spec": spec}


def _environment(job: PodJob) -> list[Fields]:
    values = [
        {"name": name, "value": value.replace("$", "$$")}
        for name, value in job.variables.items()
    ]
    secret = f"{job.name}-env"
    secrets = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in job.forward
    ]
    return [*values, *secrets]


def _escaped(words: tuple[str, ...]) -> list[str]:
    # Kubernetes puts values in place of $(NAME), and $ in place of $$.
    return [word.replace("$", "$$") for word in words]


def _document(version: str, kind: str, name: str, spec: Fields) -> Fields:
    head = {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
    return {**head, "spec": spec}


def _if_any(name: str, value: Any) -> Fields:
    return {name: value} if value else {}
