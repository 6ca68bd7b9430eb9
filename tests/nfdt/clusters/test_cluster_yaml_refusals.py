"""What no cluster's file may say: each refusal names file, line and key."""

import re

import pytest

from nfdt.clusters import cluster_yaml

# Each: the text, and the error from its line on.
WHOLE = {
    "nothing": ("# a comment", "1: the file must have keys. Received: nothing. Begin"),
    "no YAML": ("workers:\n  - {count: 1", "2: this must be YAML. Received: expected"),
    "two texts": ("a: 1\n---\nb: 2", "2: this must be YAML. Received: but found"),
    "a list": ("- 1", "1: this must have keys: name, workers, servers, events. Rec"),
    "an object": ("!!python/object:a {}", "1: workers must be given. Received: nothi"),
    "no workers": ("name: x", "1: workers must be given. Received: name. Add a line"),
    "unknown": ("\nxyz: 1", "2: xyz: a key here must be one of name, workers, servers"),
    "nearest": ("workrs: 1", "1: workrs: a key here must be one of name, workers"),
    "twice": ("name: a\nname: b", "2: name: a key must appear once. Received: name"),
    "number": ("workers: 8", "1: workers: this must be a list. Received: 8. Begin"),
    "empty": ("workers: []", "1: workers: a cluster must have a worker. Received: gr"),
}
# Each: what stands on the third line of a file, in a group of workers, and the error.
GROUP = {
    "count": (
        "count: 0",
        "3: workers[0].count: this must be an integer >= 1",
    ),
    "list": ("count: []", "3: workers[0].count: this must be one value. Received: a"),
    "none": ("link: {}", "2: workers[0]: count must be given. Received: step, link. A"),
    "key": (
        "spred: 1",
        "3: workers[0].spred: a key here must be one of count, ste",
    ),
}
WITH_COUNT = {
    "link": ("link: x", "4: workers[0].link: this must have keys: latency, bandwidth"),
    "spread": ("spread: -1", "2: workers[0]: a spread must be a number >= 0. Received"),
    "latency": (
        "link: {latency: -1s}",
        "4: workers[0].link: latency and jitter must be numbers of seconds >= 0. Rec",
    ),
    "unit": (
        "link: {bandwidth: 1Gbit}",
        "4: workers[0].link.bandwidth: a bandwidth must have one of the units B/s, kB",
    ),
    "bandwidth": (
        "link: {bandwidth: 0}",
        "4: workers[0].link: a bandwidth must be > 0 bytes/s. Received: bytes_per_s=0",
    ),
    "terminals": (
        "edges: [{terminals: 1}, {terminals: 1}]",
        "2: workers[0]: edge nodes must have all workers of their group. Received: "
        "count=3, terminals=2. Change count",
    ),
    "no terminals": (
        "edges: [{link: {}}]",
        "4: workers[0].edges[0]: terminals must be given. Received: link. Add a line",
    ),
}
STEP = {
    "unit": ("20 days", ": a time must have one of the units us, ms, s, min, h. Recei"),
    "zero": ("0ms", ": mean_s must be a number > 0. Received: mean_s=0.0. Write 20ms"),
    "negative": ("-1s", ": mean_s must be a number > 0. Received: mean_s=-1.0"),
    "kind": ("{gama: 1s}", ".gama: a key here must be one of constant, gamma, cv, exp"),
    "no kind": ("{cv: 0.1}", ": this must have one of the keys constant, gamma, expon"),
    "two": ("{gamma: 1s, constant: 1s}", ": this must have one of the keys constant"),
    "option": ("{constant: 1s, cv: 1}", ".cv: a key here must be one of constant. Rec"),
    "cv": ("{gamma: 1s, cv: 0}", ": cv must be a number > 0. Received: cv=0.0"),
    "list": ("[1s]", ": this must have keys: constant, gamma, cv, exponential, measur"),
    "measured": ("{measured: 1s}", ".measured: this must be a list. Received: 1s."),
    "none": ("{measured: []}", ": measured times must be one or more numbers of secon"),
    "one": ("{measured: [1s, x]}", ".measured[1]: this must be a time. Received: x"),
}
SERVERS = {
    "count": ("{count: x}", ".count: this must be an integer >= 1. Received: x"),
    "update": ("{update: 2GB}", ".update: a bandwidth must have one of the units B/s"),
    "rate": ("{update: -1B/s}", ": a server must update > 0 bytes/s, with an overhead"),
    "overhead": ("{overhead: -1s}", ": a server must update > 0 bytes/s, with an over"),
    "ring": ("{allreduce: no}", ".allreduce: this can only be true. Received: no."),
    "key": ("{rate: 2GB/s}", ".rate: a key here must be one of count, update, overhea"),
}
EVENT = {
    "worker": (
        "{at: 1s, worker: 2, dies: true}",
        ": the event at t=1 s must name a worker. Received: worker=2. Workers "
        "are numbered 0 to 1.",
    ),
    "like": ("{at: 1s, joins: 1, like: 7}", ": the event at t=1 s must name a"),
    "time": (
        "{at: -5s, worker: 0, dies: true}",
        ": an event must have a time >= 0 s. Received: at_s=-5.0. Write 60s.",
    ),
    "no time": ("{worker: 0, dies: true}", ": at must be given. Received: worker, die"),
    "no worker": (
        "{at: 1s, slower: 4}",
        ": worker must be given. Received: at",
    ),
    "kind": (
        "{at: 1s, worker: 0}",
        ": this must have one of the keys slower, dies",
    ),
    "mixed": (
        "{at: 1s, worker: 0, joins: 1, like: 0}",
        ".worker: a key here must be one of at, joins, like. Received: worker.",
    ),
    "factor": (
        "{at: 1s, worker: 0, slower: 0}",
        ": factor must be a number > 0. Received: factor=0.0. Use 4 for four times",
    ),
    "denied": ("{at: 1s, worker: 0, dies: no}", ".dies: this can only be true. Recei"),
    "joins": ("{at: 1s, joins: 0, like: 0}", ".joins: this must be an integer >= 1"),
}
TWO = "workers: [{count: 2, step: 1s}]\n"
# What is before the text, and before the error.
PLACES = [
    (WHOLE, "", ""),
    (GROUP, "workers:\n  - step: 1s\n    ", ""),
    (WITH_COUNT, "workers:\n  - step: 1s\n    count: 3\n    ", ""),
    (STEP, "workers:\n  - count: 3\n    step: ", "3: workers[0].step"),
    (SERVERS, f"{TWO}servers: ", "2: servers"),
    (EVENT, f"{TWO}events:\n  - ", "3: events[0]"),
]
ROWS = [
    pytest.param(before + text, place + error, id=f"{index}-{case}")
    for index, (rows, before, place) in enumerate(PLACES)
    for case, (text, error) in rows.items()
]


@pytest.mark.parametrize(("text", "error"), ROWS)
def test_what_is_refused_and_where(text, error):
    with pytest.raises(ValueError) as found:
        cluster_yaml.parse(text, "f.yaml")
    said = str(found.value)
    assert said.startswith(f"f.yaml:{error}")
    assert said.count("f.yaml") == 1
    assert ". Received: " in said
    assert said.endswith((".", "?"))


@pytest.mark.parametrize(
    ("key", "way_out"),
    [("workrs", "Did you mean workers?"), ("xyz", "Use one of these.")],
)
def test_the_nearest_key_is_named(key, way_out):
    with pytest.raises(ValueError, match=rf"Received: {key}\. {re.escape(way_out)}$"):
        cluster_yaml.parse(f"{key}: 1")


def test_what_is_no_text_at_all():
    with pytest.raises(ValueError, match=r"^f\.yaml: this must be YAML\. Received: "):
        cluster_yaml.parse("name: \0", "f.yaml")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: No such file .* calibrate\."):
        cluster_yaml.read(tmp_path / "nowhere.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(ValueError, match=r"must be a readable text file\. Received:"):
        cluster_yaml.read(path)


def test_no_object_is_made_of_a_file():
    text = "workers: !!python/object/apply:os.system [exit 1]"
    with pytest.raises(ValueError, match="this must have keys: count, step"):
        cluster_yaml.parse(text)
