"""Jobs on hosts: their command lines, their figures, and what is wanted of them."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.contenders import phases
from benchmarks.hosts import command, jobs, measurement, report, targets
from benchmarks.hosts.jobs import JOBS, LARGE_JOBS, PAYLOADS, RATES
from benchmarks.hosts.measurement import Found, HostRound
from benchmarks.running import ContenderError
from hfdt.options import Options as HfdtOptions
from nfdt.options import Options as NfdtOptions

SMALL = PAYLOADS["small"]


def words_of(name):
    return JOBS[name].words(SMALL, "/shared")


def option(words, name):
    return words[words.index(name) + 1]


@pytest.mark.parametrize("name", JOBS)
def test_each_job_fills_its_hosts(name):
    job, words = JOBS[name], words_of(name)
    places = [place.split(":") for place in option(words, "-H").split(",")]
    assert [host for host, _ in places] == [f"node{i + 1}" for i in range(job.hosts)]
    total = job.processes + (job.program == "nfdt")
    assert sum(int(slots) for _, slots in places) == total
    assert option(words, "--phases") == str(len(job.rates))


def test_all_ranks_compute_as_many_samples():
    samples = {
        name: int(option(words_of(name), "--batch"))
        * int(option(words_of(name), "--steps"))
        / job.processes
        for name, job in JOBS.items()
    }
    assert set(samples.values()) == {jobs.BATCH_PER_RANK * SMALL.steps}


def test_options_are_those_of_the_frameworks():
    for name, framework in (("hfdt", HfdtOptions), ("nfdt", NfdtOptions)):
        flag, value = JOBS[f"{name}-3-16-bit"].options
        field = flag.removeprefix("--")
        assert getattr(framework(**{field: value}), field) == value


def test_the_least_that_is_moved_is_known():
    size = SMALL.parameters
    assert size == 785 * 1250 + 1251 * 1250 + 10 * 1251
    moved = {name: job.update_bytes(SMALL) for name, job in JOBS.items()}
    assert moved["hfdt-3"] == pytest.approx(4 * size * 4 / 3)
    assert moved["hfdt-2"] == 4 * size
    assert moved["hfdt-3-16-bit"] == moved["hfdt-3"] / 2
    assert (moved["nfdt-3"], moved["nfdt-3-16-bit"]) == (4 * size, 2 * size)
    assert 24e6 < PAYLOADS["large"].parameters < 26e6


def test_every_target_is_about_jobs_and_links_that_there_are():
    for target in targets.TARGETS:
        for name in (target.job, target.reference):
            assert target.rate is None or target.rate in JOBS[name].rates
    assert set(LARGE_JOBS) < set(JOBS)


def made_up(names=tuple(JOBS)):
    """A round in which job i makes 10 + i updates/s, and begins after 20 - i s."""
    found = {
        name: Found(20.0 - i, dict.fromkeys(JOBS[name].rates, 10.0 + i))
        for i, name in enumerate(names)
    }
    return HostRound({1000: 120e6, 100: 12e6}, found)


def test_speeds_are_to_be_high_and_starts_early():
    names = ("hfdt-1", "hfdt-3", "hfdt-3-16-bit")
    rows = targets.rows([made_up(names)] * 3)
    found = {(row.target.job, row.target.rate): row for row in rows}
    assert set(found) == {
        ("hfdt-3-16-bit", 100),
        ("hfdt-3-16-bit", 1000),
        ("hfdt-3", None),
    }
    slow = found["hfdt-3-16-bit", 100]
    assert (slow.found.median, slow.verdict) == (12 / 11, "missed")
    assert found["hfdt-3-16-bit", 1000].verdict == "-"
    start = found["hfdt-3", None]
    assert (start.found.median, start.verdict) == (19 / 20, "reached")


def test_the_table_has_each_link_and_the_wire():
    text = report.job_table([made_up()], SMALL)
    lines = [line for line in text.splitlines() if line.startswith("| hfdt-3 ")]
    assert len(lines) == 2
    assert "120.0" in text and "12.0" in text
    moved = JOBS["hfdt-3"].update_bytes(SMALL) * 12
    assert f"{moved / 12e6:.0%}" in lines[1]


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    """Runs the command on made-up rounds; no hosts are made."""

    class NoHosts:
        def __init__(self, count):
            assert count == jobs.MAX_HOSTS

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    lost = set()

    def measure(hosts, payload, names, index, timeout_s):
        return made_up([name for name in names if name not in lost])

    monkeypatch.setattr(command, "missing", lambda: None)
    monkeypatch.setattr(command, "Hosts", NoHosts)
    monkeypatch.setattr(command, "measure_round", measure)
    monkeypatch.setattr(command, "facts", lambda: {"cores": 2})

    def invoked(*words, without=()):
        lost.update(without)
        words = ("--output", str(tmp_path), *words)
        return CliRunner().invoke(command.hosts, words)

    return invoked


def test_figures_of_one_payload_leave_those_of_the_other(invoke, tmp_path):
    for words in ((), ("--payload", "large", "--rounds", "1")):
        done = invoke(*words)
        assert done.exit_code == 0, done.output
    works = json.loads((tmp_path / "hosts.json").read_text())["works"]
    assert {name: len(one["rounds"]) for name, one in works.items()} == {
        "small": 3,
        "large": 1,
    }
    assert set(works["large"]["rounds"][0]["jobs"]) == set(LARGE_JOBS)
    assert works["small"]["rounds"][0]["wire_bytes_per_s"] == {
        "1000": 120_000_000,
        "100": 12_000_000,
    }


def test_a_job_that_failed_is_an_error_and_the_rest_is_kept(invoke, tmp_path):
    done = invoke("--quick", without={"nfdt-3"})
    assert done.exit_code == 1
    assert "some jobs failed" in done.output
    works = json.loads((tmp_path / "quick-hosts.json").read_text())["works"]
    assert set(works["small"]["rounds"][0]["jobs"]) == set(JOBS) - {"nfdt-3"}


def test_without_what_hosts_need_a_line_says_so(invoke, monkeypatch):
    monkeypatch.setattr(command, "missing", lambda: "hosts of namespaces need root")
    done = invoke()
    assert done.exit_code == 1
    assert done.output == "Error: hosts of namespaces need root\n"


class Dies:
    """A process that ends with a code and a text."""

    def __init__(self, code, output=""):
        self.returncode, self.output = code, output


def test_a_job_that_ends_early_is_named_with_its_words(tmp_path):
    with pytest.raises(ContenderError, match="exit code 3: no such host"):
        measurement._wait(Dies(3, "no such host"), tmp_path / "ready-0", 9e9)
    with pytest.raises(ContenderError, match="not finished"):
        measurement._wait(Dies(None), tmp_path / "ready-0", 0.0)


def test_speeds_are_read_by_link():
    line = json.dumps(
        {
            "first_step_s": 107.5,
            "phases": [
                {"updates": 8, "seconds": 2.0},
                {"updates": 8, "seconds": 16.0},
            ],
        }
    )
    found = measurement._read(f"hfdt: on 3 hosts\n{line}\n", JOBS["hfdt-3"], 100.0)
    assert found == Found(7.5, dict(zip(RATES, (4.0, 0.5), strict=True)))
    assert "0.5 updates/s over 100 Mbit/s" in measurement.shown(found)
    with pytest.raises(ContenderError, match="no times were printed"):
        measurement._read("Killed", JOBS["hfdt-3"], 100.0)


def test_ends_of_an_epoch_do_not_count(tmp_path):
    clock = phases.Phases(tmp_path)
    clock._ends = [(float(i * i), 10 * i) for i in range(6)]
    clock.on_epoch_end(0)
    # From the end of the last step that warms up to that of the last but one.
    assert clock.found == [{"updates": 30, "seconds": 15.0}]
