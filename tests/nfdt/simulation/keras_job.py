"""Simulated trainings in one process with TensorFlow: prints one JSON object."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback

import keras
import numpy as np
import tensorflow as tf

import nfdt
from nfdt.clusters.step_times import Gamma
from nfdt.glue.local_training import Lookahead
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.workers import Sent
from tests.nfdt.simulation import toys

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 4)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5], [0.0]]) + 0.3).astype("float32")
BATCH = 8
SHAKY = toys.cluster([Gamma(1.0, 0.4), Gamma(1.3, 0.4), Gamma(2.0, 0.4)])
FIT = {"batch_size": BATCH, "shuffle": False, "verbose": 0}


def model(units=1):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


def deep():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(5, "tanh"), keras.layers.BatchNormalization()]
    return keras.Sequential(
        [keras.Input((4,)), *layers, keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    )


def weights(found):
    return np.concatenate([np.ravel(w) for w in found.get_weights()])


def simulated(found, optimizer, cluster, data=(X, Y), fit=FIT, **choices):
    result = nfdt.simulate(
        found, optimizer, "mse", data, cluster=cluster, fit=fit, **choices
    )
    return weights(found), result


def difference(one, other):
    return float(np.abs(one - other).max())


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the script's own."""

    def __call__(self, step):
        return 0.02 / (1.0 + tf.cast(step, tf.float32))


class Counting(keras.Sequential):
    """Counts its steps without a look at the batch."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.steps = tf.Variable(0, trainable=False)

    def train_step(self, data):
        self.steps.assign_add(1)
        return super().train_step(data)


def steps():
    """Steps in two epochs of three workers, on 12 batches each."""
    made = Counting([keras.Input((4,)), keras.layers.Dense(1)])
    simulated(made, "sgd", SHAKY, algorithm="asgd", epochs=2)
    return int(made.steps)


def one_worker():
    """From one worker to plain Keras, for an optimizer with and one without blocks."""
    found = {}
    for name, make in (
        ("sgd", lambda: keras.optimizers.SGD(0.05, momentum=0.9)),
        ("adam", lambda: keras.optimizers.Adam(0.02)),
        ("own schedule", lambda: keras.optimizers.Adam(Falling())),
    ):
        own, _ = simulated(
            deep(), make(), toys.cluster([1.0]), algorithm="asgd", epochs=2
        )
        keras.utils.set_random_seed(0)  # as simulate does
        plain = deep_after_seed()
        plain.compile(make(), "mse")
        plain.fit(X, Y, epochs=2, **FIT)
        found[name] = difference(own, weights(plain))
    return found


def deep_after_seed():
    """The same model, and the generators as ``simulate`` has them at its ``fit``."""
    made = deep()
    keras.utils.set_random_seed(0)
    return made


def repeated():
    runs = [
        simulated(
            deep(), "adam", SHAKY, fit={"batch_size": BATCH, "verbose": 0}, **more
        )
        for more in ({"seed": 3}, {"seed": 3}, {"seed": 4})
    ]
    (one, a), (same, b), (other, _) = runs
    # A group's index is made of the variables' names, which Keras numbers.
    events = [[e._replace(group=0) for e in found.events] for found in (a, b)]
    return {
        "same": one.tobytes() == same.tobytes() and repr(events[0]) == repr(events[1]),
        "other": one.tobytes() == other.tobytes(),
        "pushes": a.summary.pushes,
        "staleness": a.summary.mean_staleness,
        "losses": len(a.history["loss"]),
    }


def by_hand(algorithm):
    """The same training by the simulator alone, with the gradient of a linear model."""
    momentum = 0.9 if algorithm == "dana-slim" else 0.0
    optimizer = keras.optimizers.SGD(0.02, momentum=momentum)
    own, _ = simulated(model(), optimizer, SHAKY, algorithm=algorithm, epochs=2, seed=5)
    services = toys.services(SHAKY, "asgd", rate=0.02, size=5)
    (group,) = services[0].groups
    services[0].groups[group].params[:] = weights(model())
    simulator = Simulator(services, SHAKY, seed=5)
    ahead = {}

    def find(wanted):
        params = weights(model()) if wanted.params is None else wanted.params
        rows = slice(wanted.number * BATCH, (wanted.number + 1) * BATCH)
        error = X[rows] @ params[:4, None] + params[4] - Y[rows]
        slope = np.append(2 * (X[rows] * error).mean(0), 2 * error.mean())
        if momentum:
            look = ahead.setdefault(wanted.worker, Lookahead(momentum, slope))
            slope = look.ahead(slope)
        return Sent(slope)

    for epoch in range(2):
        toys.drive(simulator.epoch(epoch, len(X) // BATCH), find)
    return difference(own, services[0].groups[group].params)


def alone():
    """Two workers that merge at the end only: the mean of two plain trainings."""
    even = toys.cluster([1.0, 1.0])
    own, result = simulated(
        model(), keras.optimizers.Adam(0.05), even, algorithm="asgd",
        consistency="local:1000",
    )  # fmt: skip
    found = []
    for worker in range(2):
        plain = model()
        plain.compile(keras.optimizers.Adam(0.05), "mse")
        rows = np.arange(len(X)).reshape(-1, BATCH)[worker::2].ravel()
        plain.fit(X[rows], Y[rows], **FIT)
        found.append(weights(plain))
    return {
        "difference": difference(own, np.mean(found, axis=0)),
        "updates": result.summary.updates,
    }


def not_finite():
    bad = (X * np.nan, Y)
    with contextlib.suppress(FloatingPointError):
        simulated(model(), "sgd", SHAKY, data=bad, refuse_at_most=4)
        return {"refused": False}
    deadline_s = time.monotonic() + 10
    while asking() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return {"refused": True, "asking": asking()}


def asking():
    """How many threads still ask for a batch."""
    found = [traceback.extract_stack(f) for f in sys._current_frames().values()]
    return sum(any(call.name == "_lease" for call in calls) for calls in found)


def refused():
    try:
        simulated(model(), "sgd", SHAKY, checkpoint="somewhere")
    except ValueError as error:
        return str(error)
    return ""


def edges():
    made = toys.cluster([1.0] * 4, toys.Link(0.1), edges=[toys.Edge(2), toys.Edge(2)])
    _, result = simulated(model(), "sgd", made, algorithm="asgd", trace=sys.argv[1])
    return {"workers": len(result.summary.workers), "seconds": result.duration_s}


def several_servers():
    """Several servers share an elementwise rule."""
    own, _ = simulated(model(), "sgd", SHAKY, algorithm="asgd", seed=2)
    servers = toys.cluster(
        [Gamma(1.0, 0.4), Gamma(1.3, 0.4), Gamma(2.0, 0.4)], servers=toys.Servers(3)
    )
    other, _ = simulated(model(), "sgd", servers, algorithm="asgd", seed=2)
    return difference(own, other)


class Rounded(keras.callbacks.Callback):
    """Counts steps after which bfloat16 has all values of the model."""

    count = 0

    def on_train_batch_end(self, batch, logs=None):
        own = weights(self.model)
        narrow = own.astype(tf.bfloat16.as_numpy_dtype)
        self.count += bool(np.array_equal(own, narrow))


def narrow():
    """One worker on a link that takes a second for all parameters as float32."""
    own = model()
    link = toys.Link(0.0, 4 * weights(own).size)
    made, found = toys.cluster([1.0], link), {}
    for name, choices in {
        "wide": {},
        "narrow": {"wire": "bfloat16"},
        "full": {"wire": "bfloat16", "full_parameters": True},
    }.items():
        rounded = Rounded()
        fit = {**FIT, "callbacks": [rounded]}
        _, result = simulated(model(), "sgd", made, fit=fit, **choices)
        found[name] = [result.duration_s, rounded.count]
    return found


if __name__ == "__main__":
    found = {
        "one worker": one_worker(),
        "steps": steps(),
        "repeated": repeated(),
        "asgd": by_hand("asgd"),
        "dana-slim": by_hand("dana-slim"),
        "alone": alone(),
        "not finite": not_finite(),
        "refused": refused(),
        "edges": edges(),
        "servers": several_servers(),
        "narrow": narrow(),
    }
    print("found", json.dumps(found))
