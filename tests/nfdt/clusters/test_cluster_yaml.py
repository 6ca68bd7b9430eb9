"""Clusters in files: what is read, and what is written."""

import inspect
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from nfdt.clusters import cluster_text, cluster_yaml
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Dies, Edge, Joins, Link, Servers, Slower, WorkerGroup
from nfdt.clusters.step_times import Constant, Exponential, Gamma, Measured

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "clusters").glob("*.yaml"))


def documented():
    """The file that the module's own documentation shows."""
    found = re.search(r"::\n\n((?: {4}.*\n)+)", inspect.getdoc(cluster_yaml))
    return textwrap.dedent(found[1])


def test_everything_that_a_file_may_say():
    assert cluster_yaml.parse(documented()) == Cluster(
        groups=(
            WorkerGroup(7, Gamma(0.02, 0.1), Link(1e-4, 1.25e8, 2e-5)),
            WorkerGroup(
                8,
                Measured((0.079, 0.08, 0.084), 2.0),
                spread=0.6,
                edges=(Edge(8, Link(5e-3)),),
            ),
        ),
        servers=Servers(1, 2e9, 5e-5, Link(bytes_per_s=1.25e9)),
        changes=(Slower(60.0, 3, 4.0), Dies(90.0, 5), Joins(120.0, 0, 2)),
        name="one straggler",
    )


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ("20ms", Constant(0.02)),
        ("0.02", Constant(0.02)),
        ("{constant: 20ms}", Constant(0.02)),
        ("{gamma: 20ms}", Gamma(0.02)),
        ("{exponential: 1s}", Exponential(1.0)),
        ("{measured: [1s, 2]}", Measured((1.0, 2.0))),
    ],
)
def test_steps(written, step):
    text = f"workers: [{{count: 2, step: {written}}}]"
    assert cluster_yaml.parse(text) == Cluster((WorkerGroup(2, step),))


def test_a_ring_needs_no_servers():
    text = "workers: [{count: 2, step: 1s}]\nservers: {allreduce: true}"
    assert cluster_yaml.parse(text).servers == Servers(allreduce=True)


def test_a_link_may_be_written_once_for_several():
    text = """
workers:
  - {count: 1, step: 1s, link: &far {latency: 1s}}
  - {count: 1, step: 2s, link: *far}
"""
    near, far = cluster_yaml.parse(text).groups
    assert near.link == far.link == Link(1.0)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path):
    found = cluster_yaml.read(path)
    assert found.num_workers >= 6
    assert 2 <= len(re.findall(r"(?m)^# ", path.read_text())) <= 4
    assert all(0.02 <= group.step.mean_s <= 0.2 for group in found.groups)
    assert cluster_yaml.parse(cluster_text.written(found)) == found


def test_examples_are_those_that_documents_name():
    names = ["desktop_grid", "even", "heterogeneous", "straggler"]
    assert [p.stem for p in EXAMPLES] == [*names, "terminal_edge_cloud"]


def _random_link(random):
    if random.random() < 0.3:
        return Link()
    bytes_per_s = float(random.choice([np.inf, 10 ** random.uniform(2, 10)]))
    jitter_s = float(random.choice([0, random.exponential()]))
    return Link(float(random.exponential()), bytes_per_s, jitter_s)


def _random_step(random):
    mean_s = float(10 ** random.uniform(-6, 3))
    times_s = tuple(map(float, random.exponential(size=3) + 1e-9))
    made = [
        Constant(mean_s),
        Gamma(mean_s, float(random.random() + 0.01)),
        Exponential(mean_s),
        Measured(times_s),
        Measured(times_s, factor=float(random.random() + 0.5)),
    ]
    return made[random.integers(len(made))]


def _random_cluster(random):
    groups = []
    for _ in range(random.integers(1, 4)):
        terminals = [int(n) for n in random.integers(1, 4, random.integers(3))]
        edges = tuple(Edge(n, _random_link(random)) for n in terminals)
        count = sum(terminals) or int(random.integers(1, 9))
        spread = float(random.choice([0, random.random()]))
        made = WorkerGroup(
            count, _random_step(random), _random_link(random), spread, edges
        )
        groups.append(made)
    total = sum(group.count for group in groups)
    at_s, worker = float(random.exponential(60)), int(random.integers(total))
    changes = [Slower(at_s, worker, 0.3), Dies(at_s, worker), Joins(at_s, worker, 2)]
    servers = Servers(
        int(random.integers(1, 5)),
        float(random.choice([np.inf, 3e9])),
        float(random.exponential()),
        _random_link(random),
        allreduce=bool(random.random() < 0.3),
    )
    names = ["", "plain", 'a: "b" # \\', "- x", "true", "\u2028\U0001f600 é\x7f\n", "1"]
    chosen = tuple(change for change in changes if random.random() < 0.5)
    return Cluster(tuple(groups), servers, chosen, str(random.choice(names)))


@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_is_read_as_the_same(seed):
    cluster = _random_cluster(np.random.default_rng(seed))
    text = cluster_text.written(cluster, ["measured", "on a Friday"])
    assert text.startswith("# measured\n# on a Friday\n")
    assert cluster_yaml.parse(text) == cluster


def test_many_measured_times_are_written_in_short_lines():
    times_s = tuple(0.0123 + index / 1e6 for index in range(100))
    cluster = Cluster((WorkerGroup(1, Measured(times_s)),))
    text = cluster_text.written(cluster)
    assert max(map(len, text.splitlines())) <= 88
    assert cluster_yaml.parse(text) == cluster


def test_only_steps_that_a_file_can_name_are_written():
    class Own:
        mean_s = 1.0

    with pytest.raises(ValueError, match="a file knows the steps constant, gamma"):
        cluster_text.written(Cluster((WorkerGroup(1, Own()),)))
