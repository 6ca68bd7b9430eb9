"""Manifests: what is in them, and that schemas take them and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fdtcore.launcher.engines import kubernetes, yaml_text
from fdtcore.launcher.engines.kubernetes import KINDS, manifest
from fdtcore.launcher.engines.pod_job import PodJob, job_name
from tests.processes import ROOT

JOB = PodJob(
    name="train",
    image="registry.example.com/train:1",
    program="hfdt",
    command=("train.py", "--epochs", "3"),
    size=4,
    np=4,
    slots=2,
    variables={"HFDT_BATCH": "per-worker"},
    forward=("API_KEY",),
    resources={"cpu": "4", "memory": "8Gi"},
    volume="datasets:/data",
    output="/data/logs",
    rank_module="hfdt.pod_rank",
)
# Names in them are the user's, and no fields.
FREE = ("labels", "matchLabels", "selector", "limits")


def job(kind: str, **changed: Any) -> PodJob:
    changed = {"slots": 1 if kind == "job" else JOB.slots, **changed}
    return dataclasses.replace(JOB, **changed)


def documents(kind: str, **changed: Any) -> list[Any]:
    return list(yaml.safe_load_all(manifest(kind, job(kind, **changed))))


def by_kind(kind: str, **changed: Any) -> dict[str, Any]:
    return {one["kind"]: one for one in documents(kind, **changed)}


def find(data: Any, name: str) -> Iterator[Any]:
    """Yields the values of all fields of a name, wherever they stand."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == name:
                yield value
            yield from find(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from find(value, name)


def words(kind: str, **changed: Any) -> list[str]:
    """Returns the command that knows of the user's program."""
    found = [c for c in find(documents(kind, **changed), "command") if "train.py" in c]
    assert len(found) == 1
    return found[0]


class TestContents:
    def test_the_launcher_of_an_mpijob_waits_and_runs_the_command(self):
        assert words("mpijob") == [
            *("python", "-m", "fdtcore.launcher.engines.host_wait"),
            *("/etc/mpi/hostfile", "2222"),
            *("hfdt", "run", "-np", "4", "--hostfile", "/etc/mpi/hostfile"),
            *("-x", "API_KEY", "--output", "/data/logs", "train.py", "--epochs", "3"),
        ]
        assert words("trainjob") == words("mpijob")

    @pytest.mark.parametrize(
        ("size", "slots", "pods"), [(4, 2, 2), (5, 2, 3), (1, 4, 1)]
    )
    def test_pods_have_room_for_all_processes(self, size, slots, pods):
        made = by_kind("mpijob", size=size, np=size, slots=slots)["MPIJob"]["spec"]
        assert made["slotsPerWorker"] == slots
        assert made["mpiReplicaSpecs"]["Worker"]["replicas"] == pods
        made = by_kind("trainjob", size=size, np=size, slots=slots)["TrainJob"]["spec"]
        assert made["trainer"]["numNodes"] == pods
        assert made["trainer"]["numProcPerNode"] == slots

    def test_servers_take_room_and_are_not_counted_by_np(self):
        made = {"program": "nfdt", "size": 5, "np": 4, "rank_module": ""}
        assert words("mpijob", **made)[5:9] == ["nfdt", "run", "-np", "4"]
        workers = by_kind("mpijob", **made)["MPIJob"]["spec"]["mpiReplicaSpecs"][
            "Worker"
        ]
        assert workers["replicas"] == 3

    def test_an_indexed_job_has_a_pod_for_each_rank_that_the_others_find(self):
        made = by_kind("job")
        spec, service = made["Job"]["spec"], made["Service"]
        assert (spec["completionMode"], spec["completions"]) == ("Indexed", 4)
        assert (spec["parallelism"], spec["backoffLimit"]) == (4, 0)
        pod = spec["template"]
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["subdomain"] == service["metadata"]["name"] == "train"
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert words("job") == [
            *("python", "-m", "hfdt.pod_rank", "4", "train-0.train"),
            *("train.py", "--epochs", "3"),
        ]

    def test_nothing_is_started_again(self):
        made = [documents(kind) for kind in KINDS]
        assert set(find(made, "restartPolicy")) == {"Never"}
        assert set(find(made, "backoffLimit")) == set(find(made, "maxRestarts")) == {0}

    @pytest.mark.parametrize("kind", KINDS)
    def test_values_of_variables_are_in_a_secret(self, kind):
        (environment,) = find(documents(kind), "env")
        secret = {"secretKeyRef": {"name": "train-env", "key": "API_KEY"}}
        assert {"name": "API_KEY", "valueFrom": secret} in environment
        assert {"name": "HFDT_BATCH", "value": "per-worker"} in environment
        assert "create secret generic train-env" in manifest(kind, job(kind))
        assert "secret" not in manifest(kind, job(kind, forward=()))

    def test_a_launcher_takes_no_gpu(self):
        wanted = {"nvidia.com/gpu": "1"}
        made = by_kind("mpijob", resources=wanted)["MPIJob"]["spec"]["mpiReplicaSpecs"]
        assert list(find(made["Worker"], "limits")) == [wanted]
        assert list(find(made["Launcher"], "limits")) == []

    def test_what_is_not_wanted_is_not_there(self):
        for kind in KINDS:
            changed = {"volume": "", "output": "", "resources": {}, "forward": ()}
            text = manifest(kind, job(kind, variables={}, slots=1, **changed))
            for name in ("volume", "--output", "resources", "env:", "{}", "[]", "null"):
                assert name not in text, kind

    def test_the_top_says_what_to_do(self):
        text = manifest("mpijob", JOB)
        assert text.startswith("# MPIJob of Kubeflow's MPI operator: 4 processes in 2 ")
        for line in ("kubectl apply -f", "kubectl logs -f job/train-launcher"):
            assert line in text.partition("---")[0]

    def test_a_pods_place_holders_are_none_of_the_programs(self):
        command = ("train.py", "$(HOME)", "$$", "a$b")
        assert words("mpijob", command=command)[-3:] == ["$$(HOME)", "$$$$", "a$$b"]
        (environment,) = find(
            documents("job", variables={"HFDT_LOG": "$(HOME)"}), "env"
        )
        assert {"name": "HFDT_LOG", "value": "$$(HOME)"} in environment


class TestText:
    @pytest.mark.parametrize(
        "word",
        [
            *(
                "3",
                "1e3",
                "1_000",
                "0x1f",
                "0o17",
                ".5",
                "1:30",
                "2026-01-01",
                "-1",
                "",
            ),
            *("y", "N", "yes", "Off", "true", "null", "~", "=", "<<", "-", "--", "on"),
            *("a: b", "a #b", "#", "&a", "*a", "!a", "@a", "%a", "`a`", "{a}", "[a]"),
            *("'a'", '"a"', "a\\n", "a\nb", "\t", " a ", "é", "\u2028", "a:", "?", "|"),
        ],
    )
    def test_words_that_could_be_something_else_are_quoted(self, word):
        text = yaml_text.dump([{"words": [word]}], "")
        assert yaml.safe_load(text) == {"words": [word]}
        written = text.removeprefix("---\nwords:\n  - ").rstrip("\n")
        assert written[0] == written[-1] == '"'
        assert "\n" not in written

    @pytest.mark.parametrize(
        "word", ["train.py", "--epochs", "/etc/mpi/hostfile", "a.b/c:1", "-np", "e3"]
    )
    def test_plain_words_are_left_plain(self, word):
        assert yaml_text.dump([[word]], "") == f"---\n- {word}\n"

    def test_long_words_stay_on_their_line(self):
        assert (
            yaml_text.dump([["a b " * 99]], "top") == f'# top\n---\n- "{"a b " * 99}"\n'
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"name": "My_Train"}, r"Received: My_Train\. Try: my-train\."),
            ({"name": "9"}, r"Try: job-9\."),
            ({"name": "a" * 41}, f"Try: {'a' * 40}"),
            ({"name": "a-"}, r"Try: a\."),
            ({"image": "a b"}, "the image must be"),
            ({"image": ""}, "the image must be"),
            ({"size": 0}, "a job must have"),
            ({"slots": 0}, "a job must have"),
            ({"command": ()}, "a job must have"),
            ({"forward": ("A=1",)}, r"Received: A=1\. Write the name alone"),
            ({"variables": {"A B": "1"}}, "a variable must have a name"),
            ({"resources": {"cpu": "four"}}, r"Received: cpu=four\. Examples: cpu=4"),
            ({"resources": {"memory": "8GB"}}, "memory=8GB"),
            ({"volume": "data"}, r"CLAIM:/FOLDER\. Received: data\."),
            ({"volume": "data:here"}, "CLAIM:/FOLDER"),
        ],
    )
    def test_what_kubernetes_would_refuse(self, changed, words):
        with pytest.raises(ValueError, match=words):
            manifest("mpijob", dataclasses.replace(JOB, **changed))

    def test_an_unknown_kind(self):
        with pytest.raises(ValueError, match=r"mpijob, trainjob, job\. Received: x"):
            manifest("x", JOB)

    def test_a_framework_that_needs_mpi_has_no_plain_job(self):
        nfdt = dataclasses.replace(JOB, program="nfdt", rank_module="", slots=1)
        with pytest.raises(ValueError, match=r"nfdt, whose processes speak MPI\. Use"):
            manifest("job", nfdt)

    def test_a_plain_job_has_one_process_in_each_pod(self):
        with pytest.raises(ValueError, match=r"one process in each pod\. Received: 2"):
            manifest("job", JOB)

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("train", "train"),
            ("01_a", "job-01-a"),
            ("__", "job"),
            ("a" * 39 + "-b", "a" * 39),
        ],
    )
    def test_names_that_are_made_are_taken(self, text, name):
        assert job_name(text) == name
        manifest("mpijob", dataclasses.replace(JOB, name=name))


@functools.cache
def schemas() -> dict[str, Any]:
    """Returns what checks each kind, or skips: ``pip install -e .[manifests]``."""
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("kubernetes_validate")
    models = pytest.importorskip("kubeflow_trainer_api.models")

    def strict(model: Any) -> Any:
        schema = model.model_json_schema(by_alias=True)
        forbid_others(schema)
        for name, types in UNIONS.items():
            schema["$defs"][name] = {"type": types}
        # A document that does not say what it is, is nothing.
        schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
        schema["properties"]["apiVersion"] = {"const": "trainer.kubeflow.org/v1alpha1"}
        return jsonschema.Draft202012Validator(schema)

    ours = yaml.safe_load((Path(__file__).parent / "mpijob.v2beta1.yaml").read_text())
    return {
        "MPIJob": jsonschema.Draft202012Validator(ours),
        "TrainJob": strict(models.TrainerV1alpha1TrainJob),
        "TrainingRuntime": strict(models.TrainerV1alpha1TrainingRuntime),
    }


# Which the generated models describe by their own inside.
UNIONS = {
    "IoK8sApimachineryPkgUtilIntstrIntOrString": ["integer", "string"],
    "IoK8sApimachineryPkgApiResourceQuantity": ["number", "string"],
}


def forbid_others(schema: Any) -> None:
    for one in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(one, dict | list):
            forbid_others(one)
    if isinstance(schema, dict) and schema.get("type") == "object":
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)


def problem(document: Any) -> str:
    """Returns what a schema has against a document; empty for nothing."""
    import jsonschema
    import kubernetes_validate

    # What the schemas of Kubernetes itself leave to the server.
    for path in (("apiVersion",), ("kind",), ("metadata", "name")):
        at = functools.reduce(
            lambda one, key: one.get(key) if isinstance(one, dict) else None,
            path,
            document,
        )
        if not isinstance(at, str):
            return f"no {'.'.join(path)}"
    known = schemas().get(document["kind"])
    if known is not None:
        found = next(known.iter_errors(document), None)
        if found is not None or document["kind"] != "MPIJob":
            return "" if found is None else found.message
        templates = find(document, "template")
        pods = [{"apiVersion": "v1", "kind": "Pod", **one} for one in templates]
        pods = [{"metadata": {"name": "any"}, **one} for one in pods]
    else:
        pods = [document]
    for pod in pods:
        try:
            kubernetes_validate.validate(pod, "1.37", strict=True)
        except (
            jsonschema.ValidationError,
            kubernetes_validate.SchemaNotFoundError,
        ) as error:
            return repr(error)
    return ""


def fields(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of each field of a document."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*path, key)
            if key not in FREE:
                yield from fields(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from fields(value, (*path, index))


def changed(document: Any, path: tuple[Any, ...], change: Any) -> Any:
    document = copy.deepcopy(document)
    at = document
    for step in path[:-1]:
        at = at[step]
    change(at, path[-1])
    return document


def misspell(at: Any, key: str) -> None:
    at[f"{key}s"] = at.pop(key)


def give_another_type(at: Any, key: str) -> None:
    is_scalar = not isinstance(at[key], dict | list)
    at[key] = ["x"] if is_scalar else "x"


# Fields that a schema requires, and those that it does not under the same name.
REQUIRED = {
    *("apiVersion", "kind", "metadata", "name", "containers", "mountPath", "claimName"),
    *("mpiReplicaSpecs", "slotsPerWorker", "cleanPodPolicy", "replicas", "runtimeRef"),
    *("key", "port"),
}
NOT_REQUIRED = {
    ("secretKeyRef", "name"),
    ("template", "metadata"),
    ("runtimeRef", "kind"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"volume": "", "output": "", "resources": {}, "forward": (), "variables": {}},
        {"slots": 1, "command": ("-m", "pkg.train", "1e3", "y", "é")},
    ],
    ids=["all", "least", "words"],
)
class TestSchemas:
    def test_take_what_is_printed(self, kind, change):
        schemas()
        for document in documents(kind, **change):
            assert problem(document) == "", document["kind"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [misspell, give_another_type])
def test_schemas_find_each_field_that_is_wrong(kind, change):
    schemas()
    for document in documents(kind):
        for path in fields(document):
            wrong = changed(document, path, change)
            assert problem(wrong), f"{document['kind']}: {path} was not missed"


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_find_names_that_are_missing(kind):
    schemas()
    tried = set()
    for document in documents(kind):
        for path in fields(document):
            if path[-1] in REQUIRED and path[-2:] not in NOT_REQUIRED:
                without = changed(document, path, lambda at, key: at.pop(key))
                tried.add(path[-1])
                assert problem(without), f"{document['kind']}: {path} was not missed"
    assert {"apiVersion", "kind", "name", "containers"} <= tried


def test_the_image_of_the_examples_is_one_that_the_manifests_need():
    text = (ROOT / "examples" / "Dockerfile").read_text()
    home = kubernetes.SSH_FOLDER.removesuffix("/.ssh")
    user = home.rpartition("/")[2]
    assert f"--uid {kubernetes.USER_ID} {user}\n" in text
    assert f"> {kubernetes.SSHD[-1]}\n" in text
    assert f"'HostKey {kubernetes.SSH_FOLDER}/id_rsa'" in text
    assert text.count(f"Port {kubernetes.SSH_PORT}'") == 2
    assert f"USER {user}\nWORKDIR {home}\n" in text
