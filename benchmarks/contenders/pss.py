"""The same training under ParameterServerStrategy: two workers and one server.

This process coordinates: it hands every batch's step to whichever worker is free. The
others are its children, which it ends when it has been timed.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import tensorflow as tf

from benchmarks.contenders import shared

ROLE = "BENCHMARK_PSS_ROLE"  # what this process is told to serve as, in JSON
JOBS = ("worker", "worker", "ps")


def serve(role: str) -> None:
    """Serve as one task of the cluster until this process is ended."""
    job, index, cluster = json.loads(role)
    server = tf.distribute.Server(cluster, job_name=job, task_index=index)
    server.join()


@contextlib.contextmanager
def running_cluster() -> Iterator[dict[str, list[str]]]:
    """Start the workers and the server, and end them after the block.

    Yields:
        Job -> addresses of its tasks.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in JOBS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    cluster: dict[str, list[str]] = {}
    roles = []
    for job, port in zip(JOBS, ports, strict=True):
        tasks = cluster.setdefault(job, [])
        roles.append((job, len(tasks)))
        tasks.append(f"127.0.0.1:{port}")
    command = [sys.executable, *sys.argv]
    children = [
        subprocess.Popen(
            command, env=os.environ | {ROLE: json.dumps([job, index, cluster])}
        )
        for job, index in roles
    ]
    try:
        yield cluster
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def main() -> None:
    """Coordinate the training; print the speed."""
    options = shared.options("ParameterServerStrategy and ClusterCoordinator")
    if ROLE in os.environ:
        serve(os.environ[ROLE])
    with running_cluster() as cluster:
        train(options, cluster)


def train(options, cluster: dict[str, list[str]]) -> None:
    """Train on the cluster and print the speed.

    Args:
        options: Of the command line.
        cluster: Job -> addresses of its tasks.
    """
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), rpc_layer="grpc"
    )
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    workers = len(cluster["worker"])
    images, labels, source = shared.read_data(options.batch * options.steps * workers)

    def read() -> tf.data.Dataset:
        # Whoever is free takes the next step, so no worker can have a part of its own.
        dataset = tf.data.Dataset.from_tensor_slices((images, labels))
        dataset = dataset.shuffle(4096).repeat()
        return dataset.batch(options.batch, drop_remainder=True).prefetch(2)

    batches = iter(coordinator.create_per_worker_dataset(read))
    with strategy.scope():
        model = shared.build_model(options.model)
        optimizer, loss_of = shared.build_optimizer(), shared.build_loss()
        optimizer.build(model.trainable_variables)

    def replica_step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)

    @tf.function
    def train_step(iterator: tf.data.Iterator) -> None:
        strategy.run(replica_step, args=next(iterator))

    def run_epoch() -> None:
        for _ in range(options.steps * workers):
            coordinator.schedule(train_step, args=(batches,))
        coordinator.join()

    seconds = shared.time_epochs(run_epoch, options.epochs)
    timed = options.batch * options.steps * workers * options.epochs
    shared.print_speed(timed, seconds, source)


if __name__ == "__main__":
    main()
