"""Options of both frameworks: every field by command line, variable and keyword."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import hfdt.cli
import nfdt.cli
from fdtcore import options as declared
from fdtcore.launcher.foreground import Foreground
from nfdt.simulation.glue import api as simulation
from tests.processes import run
from tests.test_layers import FILES, ROOT

FRAMEWORKS = {"hfdt": hfdt.Options, "nfdt": nfdt.Options}
COMMANDS = {"hfdt": hfdt.cli.main, "nfdt": nfdt.cli.main}

# Of each field: texts that it is given, and the value that each means.
GIVEN = {
    "hfdt": {
        "batch": {"per-worker": "per_worker", "per_worker": "per_worker"},
        "lr_scale": {"linear": "linear", "0.5": 0.5},
        "warmup_epochs": {"1.5": 1.5},
        "compression": {"bf16": "bf16", "topk:0.01": "topk:0.01"},
        "bucket_bytes": {"4000000": 4_000_000},
        "accumulate": {"4": 4},
        "op": {"adasum": "adasum"},
        "nonfinite": {"skip": "skip"},
        "stall_timeout": {"5": 5.0, "500ms": 0.5, "5min": 300.0, "inf": math.inf},
        "link_timeout": {"20s": 20.0, "1min": 60.0},
        "interface": {"eth1": "eth1", "10.0.0.0/24": "10.0.0.0/24"},
        "log": {"messages": "messages"},
        "stats": {"1": True, "yes": True, "off": False},
        "trace": {"/tmp/x": "/tmp/x"},
        "snapshot": {"/tmp/x": "/tmp/x"},
        "snapshot_every": {"5min": "5min", "200steps": "200steps"},
        "resume": {"/tmp/x": "/tmp/x"},
        "process_sets": {},
    },
    "nfdt": {
        "algorithm": {"asgd": "asgd"},
        "consistency": {"ssp:3": "ssp:3"},
        "servers": {"2": 2},
        "wire": {"bfloat16": "bfloat16", "topk:0.01": "topk:0.01", "sign": "sign"},
        "full_parameters": {"1": True, "off": False},
        "local_steps": {"4": 4},
        "worker_optimizer": {"adam": "adam"},
        "server_optimizer": {"adam": "adam"},
        "overlap": {"1": True, "true": True, "yes": True, "on": True, "off": False},
        "on_worker_loss": {"abort": "abort"},
        "stall_timeout": {"60s": 60.0, "1h": 3600.0, "inf": math.inf},
        "refuse_at_most": {"3": 3},
        "trace": {"/tmp/x": "/tmp/x"},
        "link_timeout": {"20s": 20.0, "1min": 60.0},
        "interface": {"eth1": "eth1", "10.0.0.0/24": "10.0.0.0/24"},
        "log": {"messages": "messages"},
        "checkpoint": {"/tmp/x": "/tmp/x"},
        "checkpoint_every": {"30s": 30.0, "5min": 300.0, "1h": 3600.0, "1.5": 1.5},
        "resume": {"/tmp/x": "/tmp/x"},
    },
}
CASES = [
    (program, name, text, value)
    for program, fields in GIVEN.items()
    for name, texts in fields.items()
    for text, value in texts.items()
]
# Of each field: a text that means nothing, and a value that is none; None: any is one.
WRONG = {
    "hfdt": {
        "batch": ("local", "local"),
        "lr_scale": ("fast", -1),
        "warmup_epochs": ("1 epoch", "1"),
        "compression": ("int8", None),
        "bucket_bytes": ("4MB", -1),
        "accumulate": ("two", 1.5),
        "op": ("max", 3),
        "nonfinite": ("ignore", ""),
        "stall_timeout": ("soon", "5min"),
        "link_timeout": ("inf", 0.0),
        "interface": (None, 3),
        "log": ("message", "all"),
        "stats": ("maybe", "yes"),
        "trace": (None, 3),
        "snapshot": (None, 3),
        "snapshot_every": ("0steps", 30),
        "resume": (None, 3),
    },
    "nfdt": {
        "algorithm": ("sgd", "sgd"),
        "consistency": ("spp:3", 3),
        "servers": ("0", True),
        "wire": ("int8", "fp16"),
        "full_parameters": ("maybe", "yes"),
        "local_steps": ("-1", 0),
        "overlap": ("maybe", "yes"),
        "on_worker_loss": ("cry", "Abort"),
        "stall_timeout": ("0s", -1.0),
        "refuse_at_most": ("1.0", 0),
        "trace": (None, 3),
        "link_timeout": ("inf", 0.0),
        "interface": (None, 3),
        "log": ("message", "all"),
        "checkpoint": (None, 3),
        "checkpoint_every": ("inf", math.inf),
        "resume": (None, 3),
    },
}
WRONG_CASES = [(p, name, *w) for p, rows in WRONG.items() for name, w in rows.items()]


def test_every_field_is_in_the_tables_above():
    for program, options in FRAMEWORKS.items():
        names = {field.name for field in dataclasses.fields(options)}
        assert set(GIVEN[program]) == names
        free = {"process_sets", "worker_optimizer", "server_optimizer"}
        assert set(WRONG[program]) == names - free


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Gives words to ``run``; returns the ranks' environment, or the refusal."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("pass\n")
    got = []
    monkeypatch.setattr(
        Foreground,
        "run",
        lambda self, job, launcher, environ, directory: got.append(environ) or 0,
    )
    monkeypatch.setattr("nfdt.cli.job_setup.check", lambda *_: nfdt_roles)
    monkeypatch.setattr("hfdt.install.install.check_installed", lambda: None)
    for name in list(os.environ):
        if name.startswith(("HFDT_", "NFDT_", "SLURM_", "OMPI_COMM", "PMIX_RANK")):
            monkeypatch.delenv(name)

    def of(program, *words, **environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        words = ["run", "-np", "1", *words, "train.py"]
        result = CliRunner().invoke(COMMANDS[program], words)
        return got.pop() if got else result.output

    return of


nfdt_roles = nfdt.cli.job_setup.Roles(1, 1)


@pytest.mark.parametrize(("program", "name", "text", "value"), CASES)
def test_a_variable_sets_a_field(program, name, text, value):
    options = FRAMEWORKS[program]
    found = options.from_environ({f"{program.upper()}_{name.upper()}": text})
    assert found == options(**{name: value})


@pytest.mark.parametrize(("program", "name", "text", "value"), CASES)
def test_an_option_of_the_command_sets_it_and_wins(call, program, name, text, value):
    options = FRAMEWORKS[program]
    option = declared.options_of(options)[name]
    if not option.has_flag or value is False:
        return
    words = [option.flag(name), *([] if option.is_bare else [text])]
    other = {f"{program.upper()}_{name.upper()}": "nonsense"}
    environ = call(program, *words, **other)
    assert options.from_environ(environ) == options(**{name: value})


@pytest.mark.parametrize(("program", "name", "text", "value"), CASES)
def test_a_keyword_of_distribute_wins(monkeypatch, program, name, text, value):
    options = FRAMEWORKS[program]

    @declared.keywords(options)
    def distribute(*, options=None):
        return options

    monkeypatch.setenv(f"{program.upper()}_{name.upper()}", "nonsense")
    assert distribute(**{name: value}) == options(**{name: value})


@pytest.mark.parametrize(("program", "name", "text", "value"), WRONG_CASES)
def test_a_wrong_value_is_refused_each_way_and_named(call, program, name, text, value):
    options = FRAMEWORKS[program]
    if value is not None or program == "hfdt":
        with pytest.raises(ValueError, match=rf"^{name} must.*Received: ") as caught:
            options(**{name: value})
        assert repr(value) in str(caught.value)
    if text is None:
        return
    option = declared.options_of(options)[name]
    variable, flag = f"{program.upper()}_{name.upper()}", option.flag(name)
    with pytest.raises(ValueError, match=rf"{variable}|{name} must"):
        options.from_environ({variable: text})
    said = call(program, **{variable: text})
    assert re.match(rf"{program}: ({variable}|{name}) must", said)
    if not option.is_bare:
        said = call(program, f"{flag}={text}")
        assert re.match(rf"{program}: ({flag}|{name}) must.*Received: .*{text}", said)
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("program", "variable", "way_out"),
    [
        ("nfdt", "NFDT_CONSISTANCY", "Did you mean NFDT_CONSISTENCY?"),
        ("nfdt", "NFDT_OVERLAPS", "Did you mean NFDT_OVERLAP?"),
        (
            "nfdt",
            "NFDT_WWWW_QQQQ",
            "Unset it; nfdt run --help lists what there is.",
        ),
        ("hfdt", "HFDT_STALL_TIMEOUT_S", "Did you mean HFDT_STALL_TIMEOUT?"),
        ("hfdt", "HFDT_PROCESS_SETS", "Give process_sets to hfdt.distribute."),
        ("hfdt", "HFDT_DEBUGG", "Did you mean HFDT_DEBUG?"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(
    call, program, variable, way_out
):
    said = call(program, **{variable: "bsp"})
    rule = f"a variable {program.upper()}_* must be one that {program} knows"
    assert said == f"{program}: {rule}. Received: {variable}='bsp'. {way_out}\n"


@pytest.mark.parametrize("program", FRAMEWORKS)
def test_variables_of_the_other_framework_are_not_ours(program):
    other = {"hfdt": "NFDT_X", "nfdt": "HFDT_X"}[program]
    FRAMEWORKS[program].from_environ({other: "1", "X": "2"})


@pytest.mark.parametrize("word", ["maybe", ""])
def test_a_switch_that_is_neither_on_nor_off_is_refused(word):
    with pytest.raises(ValueError, match="NFDT_DEBUG must be on or off"):
        nfdt.Options.from_environ({"NFDT_DEBUG": word})
    assert not declared.is_set({"NFDT_DEBUG": word}, "NFDT_DEBUG")
    assert declared.is_set({"NFDT_DEBUG": "Yes"}, "NFDT_DEBUG")


def test_every_variable_that_the_code_names_is_known():
    """A new one is declared in ``Options``, or jobs that set it would be refused."""
    text = "\n".join((ROOT / file).read_text() for file in FILES)
    for program, options in FRAMEWORKS.items():
        named = set(re.findall(rf'"({program.upper()}_[A-Z_]*[A-Z])"', text))
        assert len(named) > 2
        for name in named:
            declared.refuse_unknown(options, {name: "1"})
        # Both packages' programs set these, by their names behind the prefix.
        for name in ("JOB_DIR", "PLAIN", "VERBOSE", "DEBUG"):
            declared.refuse_unknown(options, {f"{program.upper()}_{name}": "1"})


def test_options_as_one_object_are_taken_as_they_are():
    @declared.keywords(nfdt.Options)
    def distribute(*, options=None):
        return options

    assert distribute(options=nfdt.Options(servers=2)).servers == 2
    with pytest.raises(
        ValueError, match=r"given once: .* Received: .*algorithm='asgd'"
    ):
        distribute(options=nfdt.Options(), algorithm="asgd")


@pytest.mark.parametrize("program", FRAMEWORKS)
def test_keywords_of_distribute_are_the_fields(program):
    options = FRAMEWORKS[program]
    function = {"hfdt": hfdt.distribute, "nfdt": nfdt.distribute}[program]
    given = inspect.signature(function).parameters
    fields = {f.name: (f.default, f.type) for f in dataclasses.fields(options)}
    found = {n: (given[n].default, given[n].annotation) for n in fields}
    assert found == fields
    own = {"model", "optimizer", "loss", "metrics", "options", "compile_arguments"}
    assert set(given) - set(fields) == own
    for name, option in declared.options_of(options).items():
        for text in (function.__doc__, options.__doc__):
            assert f"{name}: {option.help[:20]}" in text.replace("``", "`")


def test_keywords_of_simulate_are_the_fields_that_a_simulation_has():
    given = inspect.signature(simulation.simulate).parameters
    fields = {
        f.name: (f.default, f.type)
        for f in dataclasses.fields(nfdt.Options)
        if f.name not in nfdt.options.real_runs_only()
    }
    assert {n: (given[n].default, given[n].annotation) for n in fields} == fields
    assert not set(given) & set(nfdt.options.real_runs_only())


@pytest.mark.parametrize("program", FRAMEWORKS)
def test_a_misspelt_keyword_is_not_dropped(program):
    function = {"hfdt": hfdt.distribute, "nfdt": nfdt.distribute}[program]
    name, near = {
        "hfdt": ("acumulate", "accumulate"),
        "nfdt": ("consistancy", "consistency"),
    }[program]
    with pytest.raises(TypeError, match=rf"{name} without one\. Did you mean {near}\?"):
        function(None, **{name: 2})


def test_a_controller_is_parsed_once(monkeypatch):
    parsed = []
    parse = nfdt.options.consistency.parse
    monkeypatch.setattr(
        nfdt.options.consistency,
        "parse",
        lambda form: parsed.append(form) or parse(form),
    )
    options = nfdt.Options(consistency="ssp:3")
    assert options.controller is options.controller
    assert options.trains_locally is False
    assert parsed == ["ssp:3"]
    assert dataclasses.replace(options, consistency="bsp").controller == parse("bsp")


# Each: a call, and what mypy says of it; empty for nothing.
CALLS = {
    "nfdt.distribute(model, consistency='bsp', checkpoint_every=30.0).x": "",
    "hfdt.distribute(model, 'sgd', jit_compile=True, stall_timeout=5).x": "",
    "nfdt.distribute(model, overlap='yes')": 'Argument "overlap" to "distribute"',
    "hfdt.distribute(model, accumulate='2')": 'Argument "accumulate" to "distribute"',
    "nfdt.distribut(model)": 'Module has no attribute "distribut"',
    "hfdt.rank().x": '"int" has no attribute "x"',
}


def test_editors_see_the_types_of_what_is_public(tmp_path):
    """By mypy, from a program outside of this tree that imports the packages."""
    program = ["import hfdt, nfdt", "class Model: x = 1", "model = Model()", *CALLS]
    (tmp_path / "program.py").write_text("\n".join(program) + "\n")
    places = {"MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(tmp_path)}
    words = (sys.executable, "-m", "mypy", "--config-file", "", "program.py")
    done = run(*words, folder=tmp_path, time_limit_s=600, **places)
    lines = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    for number, (call, message) in enumerate(CALLS.items(), 4):
        said = [line for line in lines if line.startswith(f"program.py:{number}:")]
        assert len(said) == bool(message), (call, done.stdout)
        assert not message or message in said[0]


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_public_names_are_the_same_for_editors_and_programs(package):
    module = {"hfdt": hfdt, "nfdt": nfdt}[package]
    source = Path(module.__file__).read_text()
    (block,) = re.findall(r"^if TYPE_CHECKING:.*?\n\n", source, re.S | re.M)
    seen = {
        name: path
        for path, names in re.findall(r"from (\S+) import (\([^)]*\)|.*)", block)
        for name in re.findall(r"\w+", names)
    }
    assert seen == module._PUBLIC
    assert set(module.__all__) == {"__version__", *seen}


def test_marks_of_typed_packages_are_installed(tmp_path):
    words = ["-c", "from setuptools import setup; setup()", "-q", "build_py"]
    done = run(sys.executable, *words, "--build-lib", tmp_path)
    assert done.returncode == 0, done.stderr
    for package in ("fdtcore", "hfdt", "nfdt"):
        assert (tmp_path / package / "py.typed").is_file()
