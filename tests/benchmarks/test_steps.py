"""Steps: slopes, targets, command lines, tables; nothing is started or timed."""

import json
from pathlib import Path

import pytest

from benchmarks.launches import ROOT
from benchmarks.running import ContenderError
from benchmarks.steps import measurement, picture, report, server, slopes, targets
from benchmarks.steps.beside import Beside
from benchmarks.steps.contenders import CONTENDERS, Place
from benchmarks.steps.measurement import WorkSteps
from benchmarks.steps.server import Update
from benchmarks.steps.settings import StepSettings
from benchmarks.steps.slopes import Step, TimedFit
from benchmarks.steps.works import SMALL, UNTUNED, WORKS, Fit

PLACE = Place("/env/bin/python", cores=4, ranks=2, before=Path("/before/packages"))
BEFORE = Beside("a-commit", Path("/before/tree"), Path("/before/packages"))
ALL = StepSettings(tuple(WORKS), rounds=3, quick=False, before=BEFORE)


def fits_of(batches, *, fit_s, end_s, step_s, lengths, warm_s=9.0):
    """Return fits that take exactly what is said; the first one also traces."""
    return [
        TimedFit(
            batches,
            epochs,
            fit_s + epochs * (end_s + batches * step_s) + warm_s * (index == 0),
            int(1000 + epochs * batches * 7 + 5000 * (index == 0)),
        )
        for index, epochs in enumerate(lengths)
    ]


def test_a_step_is_the_slope_over_epochs():
    fits = fits_of(50, fit_s=0.3, end_s=0.0, step_s=0.01, lengths=(1, 2, 6))
    found = slopes.step(fits)
    assert found.step_ms == pytest.approx(10)
    assert found.fit_ms == pytest.approx(300)
    assert found.page_faults == pytest.approx(7)
    assert found.epoch_end_ms is None


def test_two_sizes_of_epoch_tell_its_end_from_its_steps():
    parts = {"fit_s": 0.3, "end_s": 0.05, "step_s": 0.004, "lengths": (1, 1, 5, 1, 5)}
    found = slopes.step([*fits_of(1, **parts), *fits_of(50, **parts)])
    assert found.step_ms == pytest.approx(4)
    assert found.epoch_end_ms == pytest.approx(50)
    assert found.fit_ms == pytest.approx(300)


def test_fits_of_one_length_have_no_slope():
    fits = fits_of(50, fit_s=0.3, end_s=0.0, step_s=0.01, lengths=(1, 2, 2))
    with pytest.raises(ValueError, match=r"two numbers of epochs\. Received: \[2\]"):
        slopes.step(fits)


@pytest.mark.parametrize("work", WORKS.values(), ids=lambda work: work.name)
@pytest.mark.parametrize("quick", [False, True])
def test_the_fits_of_every_work_have_a_slope(work, quick):
    sizes = (work.shortened() if quick else work).fits
    fits = [TimedFit(*fit, seconds=float(fit.epochs), page_faults=0) for fit in sizes]
    assert slopes.step(fits).fit_ms == pytest.approx(0)
    assert [Fit.read(str(fit)) for fit in sizes] == list(sizes)


def lines(*steps_ms, code="/here"):
    fits = [[[10, n, n * ms / 100, 0] for n in (1, 2, 6)] for ms in steps_ms]
    rest = f'"updates": 90, "code": "{code}"'
    return "\n".join(f'[0]: {{"fits": {one}, {rest}}}' for one in fits)


def test_copies_are_averaged_and_other_output_is_passed_over():
    found = slopes.mean(slopes.read(f"chatter {{}}\n{lines(4.0, 6.0)}\n"))
    assert found.step_ms == pytest.approx(5.0)
    assert (found.updates, found.code) == (90, "/here")


def test_no_line_is_an_error():
    with pytest.raises(ValueError, match="no times of fits were printed"):
        slopes.read("Traceback\n")


def step(step_ms, page_faults=0.0, fit_ms=100.0, epoch_end_ms=None):
    return Step(step_ms, page_faults, fit_ms, epoch_end_ms)


def one_row(work, rounds, processes=2, **wanted):
    """Return the row of a target with these fields."""
    (row,) = (
        row
        for row in targets.rows(work, rounds, processes)
        if wanted.items() <= row.target._asdict().items()
    )
    return row


def test_a_steps_ratio_is_taken_within_each_round():
    rounds = [
        {"hfdt": step(4.0), "copies": step(4.0)},
        {"hfdt": step(9.0), "copies": step(6.0)},
        {"hfdt": step(13.0), "copies": step(10.0)},
        {"hfdt": step(1.0)},
    ]
    row = one_row("deep", rounds, contender="hfdt", reference="copies")
    assert row.values == pytest.approx((1.0, 1.5, 1.3))
    assert (row.found.median, row.verdict) == (pytest.approx(1.3), "reached")
    assert one_row("deep", rounds[1:2], contender="hfdt").verdict == "missed"


def test_a_speed_is_the_inverse_of_a_time():
    rounds = [{"nfdt": step(50.0), "copies": step(40.0), "nfdt-before": step(70.0)}]
    beside = one_row("cnn", rounds, contender="nfdt", reference="copies")
    assert (beside.values, beside.verdict) == ((0.8,), "missed")
    before = one_row("cnn", rounds, contender="nfdt", reference="nfdt-before")
    assert (before.values, before.verdict) == ((1.4,), "reached")


@pytest.mark.parametrize(("faults", "verdict"), [(500, "reached"), (501, "missed")])
def test_page_faults_are_judged_by_themselves(faults, verdict):
    rounds = [{"nfdt": step(50.0, faults)}]
    row = one_row("cnn", rounds, quantity=targets.FAULTS)
    assert (row.values, row.verdict) == ((faults,), verdict)


def test_fits_and_epochs_ends_are_compared():
    rounds = [
        {"hfdt": step(4, 0, 220.0, 50.0), "copies": step(4, 0, 100.0, 40.0)},
    ]
    fit = one_row("fit", rounds, quantity=targets.FIT)
    end = one_row("fit", rounds, quantity=targets.EPOCH_END)
    assert (fit.found.median, fit.verdict) == (pytest.approx(2.2), "missed")
    assert (end.found.median, end.verdict) == (pytest.approx(1.25), "reached")


def test_many_processes_have_targets_of_their_own():
    rounds = [{"hfdt": step(50.0), "copies": step(44.0)}]
    assert one_row("cnn", rounds, 14, contender="hfdt").target.bound == 0.85
    assert targets.rows("cnn", rounds, 2) == []


def test_a_servers_update_is_compared_in_time_and_memory():
    rounds = [{"server": Update(20.0, 400.0), "server-before": Update(40.0, 390.0)}]
    speed = one_row("server", rounds, quantity=targets.UPDATES)
    memory = one_row("server", rounds, quantity=targets.MEMORY)
    assert (speed.values, speed.verdict) == ((2.0,), "reached")
    assert (memory.found.median, memory.verdict) == (pytest.approx(400 / 390), "missed")


def bounds(work):
    """Return what is wanted of a work: contender, reference and quantity to bound."""
    return {target[:3]: target.bound for target in targets.TARGETS[work]}


def test_the_targets_are_the_promised_ones():
    assert bounds("deep") == {
        ("hfdt", "copies", "step"): 1.4,
        ("hfdt", "hand", "step"): 0.85,
        ("nfdt-asgd", "nfdt-asgd-before", "step"): 0.6,
        ("nfdt", "nfdt-before", "step"): 0.6,
    }
    assert bounds("dense") == {
        ("hfdt", "hfdt-before", "step"): 0.75,
        ("nfdt-asgd", "nfdt-asgd-before", "step"): 0.6,
        ("hfdt", "hand", "step"): 0.85,
    }
    assert bounds("cnn-long") == {
        (name, *other): bound
        for name in ("nfdt-asgd", "nfdt")
        for other, bound in (
            (("copies", "speed"), 0.95),
            ((f"{name}-before", "speed"), 1.3),
            ((None, "page faults a step"), 500),
        )
    }
    assert bounds("cnn-generator") == {
        ("hfdt-one", "alone", "speed"): 1.15,
        ("hfdt", "copies", "speed"): 1.15,
    }
    assert bounds(UNTUNED[0]) == {
        ("hfdt", "copies", "speed"): 0.9,
        ("hfdt", "hand", "speed"): 1.0,
        ("nfdt-asgd", "copies", "speed"): 0.85,
        ("nfdt", "copies", "speed"): 0.85,
    }
    assert bounds("mlp") == {
        ("hfdt", "copies", "speed"): 0.85,
        ("nfdt-asgd", "copies", "speed"): 0.85,
        ("nfdt", "copies", "speed"): 0.8,
    }


@pytest.mark.parametrize("work", WORKS)
def test_both_sides_of_every_target_train_its_work(work):
    sides = {s for target in targets.TARGETS[work] for s in target[:2] if s}
    assert sides <= set(ALL.names(work)) <= set(CONTENDERS)


def argv_of(name, work="deep", place=PLACE):
    return list(CONTENDERS[name].launches(WORKS[work], place)[0].argv)


def option(argv, name):
    return argv[argv.index(name) + 1]


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_rank_has_the_same_number_of_batches(name):
    argv = argv_of(name)
    ranks = {"hfdt": "2", "nfdt": "2", "nfdt-asgd": "2"}
    # A script by hand sees its own rank, a copy itself; fit's sees all of its job.
    assert option(argv, "--ranks") == ranks.get(name.removesuffix("-before"), "1")
    assert option(argv[argv.index("--model") :], "--batch") == "32"
    assert argv[argv.index("--fits") + 1 :][:3] == ["240x1", "240x2", "240x6"]
    assert Path(next(word for word in argv if word.endswith(".py"))).is_file()


def test_copies_and_ranks_by_hand_share_the_cores():
    copies = CONTENDERS["copies"].launches(WORKS["deep"], PLACE)
    (hand,) = CONTENDERS["hand"].launches(WORKS["deep"], PLACE)
    assert len(copies) == 2
    assert option(list(copies[0].argv), "--tail") == "240x1"
    assert copies[0].environ == hand.environ
    assert copies[0].environ["TF_NUM_INTRAOP_THREADS"] == "2"


def test_ours_at_another_commit_run_todays_script_with_its_code():
    (now,) = CONTENDERS["nfdt"].launches(WORKS["deep"], PLACE)
    (before,) = CONTENDERS["nfdt-before"].launches(WORKS["deep"], PLACE)
    assert (now.argv, dict(now.environ)) == (before.argv, {})
    assert before.environ == {"PYTHONPATH": f"/before/packages:{ROOT}"}
    assert ALL.tree("nfdt-before") == BEFORE.tree
    assert ALL.tree("nfdt") == ROOT


def test_without_another_commit_its_contenders_are_left_out():
    alone = StepSettings(SMALL, 1, quick=True)
    assert alone.names("deep") == ("copies", "hand", "hfdt", "nfdt-asgd", "nfdt")
    assert alone.names("server") == ("server",)
    assert len(ALL.names("deep")) == 8


def test_one_process_stays_one_among_many():
    many = Place("/env/bin/python", cores=16, ranks=14)
    assert option(argv_of("hfdt", "cnn", many), "-np") == "14"
    assert option(argv_of("hfdt-one", "cnn-generator", many), "-np") == "1"
    assert len(CONTENDERS["copies"].launches(WORKS["mlp"], many)) == 14
    assert len(CONTENDERS["alone"].launches(WORKS["cnn-generator"], many)) == 1


def test_a_workers_step_is_an_update_of_its_own():
    made = {n: CONTENDERS[n].updates(WORKS["deep"], PLACE) for n in CONTENDERS}
    of_each = 240 * 9
    assert {made[name] for name in ("copies", "hand", "hfdt")} == {of_each}
    assert {made[name] for name in ("nfdt", "nfdt-asgd-before")} == {2 * of_each}


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (lines(4.0, code=""), "it ran the code of , not of"),
        (lines(4.0, code=ROOT), "it made 90 updates, not 2160"),
        ("Traceback", "no times of fits were printed"),
    ],
)
def test_a_run_that_did_something_else_counts_as_failed(monkeypatch, output, reason):
    monkeypatch.setattr(measurement, "output_of", lambda *args: output)
    with pytest.raises(ContenderError, match=reason):
        measurement.run(ALL, WORKS["deep"], "hfdt")


def test_an_update_of_other_code_is_refused():
    output = '{"update_ms": 3.0, "memory_mib": 400.0, "code": "/there/benchmarks/x.py"}'
    assert server.read(output, Path("/there")) == Update(3.0, 400.0)
    with pytest.raises(ContenderError, match="not the code of /here"):
        server.read(output, Path("/here"))
    with pytest.raises(ContenderError, match="no time of an update"):
        server.read("Traceback", Path("/there"))


ROUNDS = [
    {"copies": step(4.0, 12.0), "hfdt": step(5.0, 20.0)},
    {"copies": step(4.4, 14.0), "hfdt": step(7.0, 21.0)},
    {"copies": step(4.2, 13.0)},
]


def cells(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()[2:]
    ]


def test_the_table_of_steps_shows_all_that_was_measured():
    table = report.step_table(WorkSteps(WORKS["deep"], ROUNDS), PLACE)
    title, hfdt = "copies of plain Keras", ["HFDT", "6.00", "5.00 .. 7.00", "20"]
    assert cells(table) == [
        [title, "4.20", "4.00 .. 4.40", "13", "100", "15238", "3"],
        [*hfdt, "100", "10667", "2"],
    ]


def test_the_table_of_targets_shows_the_spread_and_the_bound():
    (row,) = cells(report.target_table(targets.rows("deep", ROUNDS, 2)))
    assert row == [
        "deep: step, HFDT / copies of plain Keras",
        "1.42",
        "1.25 .. 1.59",
        "<= 1.4",
        "missed",
    ]


def test_the_table_of_updates_shows_speeds():
    rounds = [{"server": Update(20.0, 400.0)}, {"server": Update(25.0, 410.0)}]
    (row,) = cells(report.update_table(rounds))
    assert row == ["server's update", "44.44", "40.00 .. 50.00", "405", "2"]


def test_what_is_found_of_a_work_replaces_that_work_alone(tmp_path):
    path = tmp_path / "steps.json"
    rows = targets.rows("deep", ROUNDS, 2)
    deep = {"cores": 2, **report.as_json(ROUNDS, rows)}
    report.merge(path, {"deep": deep, "dense": {"cores": 4}})
    report.merge(path, {"dense": {"cores": 2}})
    found = json.loads(path.read_text())["works"]
    assert found["dense"] == {"cores": 2}
    assert found["deep"]["rounds"][0]["hfdt"] == {
        "step_ms": 5.0,
        "page_faults": 20.0,
        "fit_ms": 100.0,
    }
    (target,) = found["deep"]["targets"]
    assert (target["median"], target["bound"], target["verdict"]) == (
        1.4205,
        1.4,
        "missed",
    )


FIGURES = {
    "cnn": {"processes": 2, "cores": 2, **report.as_json([{"copies": step(80.0)}], ())},
    "deep": {"processes": 2, "cores": 2, **report.as_json(ROUNDS, ())},
    "server": {"rounds": [{"server": {"update_ms": 3.0}}]},
}


def test_points_go_from_small_steps_to_large_ones():
    assert [p.work for p in picture.points(FIGURES, "copies")] == ["deep", "cnn"]
    (point,) = picture.points(FIGURES, "hfdt")
    assert point[:3] == ("deep", 4.2, 6.0)
    assert point.ratio.low == pytest.approx(1.25)


def test_picture_is_written_where_there_is_a_point(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "steps.png"
    picture.draw(path, {"server": FIGURES["server"]})
    assert not path.exists()
    picture.draw(path, FIGURES)
    assert path.read_bytes().startswith(b"\x89PNG")
