"""The record of a run: what ranks write, and what is made of it."""

from __future__ import annotations

import ast
import itertools
import json
import re
import struct

import numpy as np
import pytest
from click.testing import CliRunner

from hfdt import cli
from hfdt.ring_bytes import ring_bytes, sent_bytes
from hfdt.telemetry import recorder as recorders
from hfdt.telemetry import report, steps, summary, trace
from nfdt.cli import inspection
from nfdt.telemetry.trace import TraceWriter
from tests.hfdt.synthetic_record import (
    MB,
    START_S,
    gradients,
    operation,
    recorder,
    run,
)
from tests.hfdt.test_jobs import HERE, run_job
from tests.nfdt.test_report import Page


def built(folder):
    found = trace.read(folder)
    return found, steps.build(found.lives)


def about(value, tolerance=2e-6):  # times are written in microseconds
    return pytest.approx(value, abs=tolerance)


def test_parts_of_a_step_are_those_of_its_operations(tmp_path):
    run(tmp_path, num_steps=4)
    _, line = built(tmp_path)
    fast, slow = line.ranks[0], line.ranks[1]
    # From the second on: before the first there was the trace.
    for rank, (own_s, waiting_s) in {0: (0.020, 0.010), 1: (0.030, 0.0)}.items():
        one = line.ranks[rank]
        start_s, computed_s, ready_s, met_s, ended_s = (e[1:] for e in one.edges)
        assert computed_s - start_s == about(own_s)
        assert np.array_equal(ready_s, computed_s)
        assert met_s - ready_s == about(waiting_s)
        assert ended_s - met_s == about(0.006)
        # A first bucket of the slow rank is there 10 ms before the last gradient.
        assert one.hidden_s[1:] == about({0: 0.010, 1: 0.008}[rank])
    assert fast.ended_s == about(slow.ended_s)
    assert fast.sent_bytes.tolist() == [2 * MB] * 4  # of two buckets, in a ring of two
    assert fast.dense_bytes.tolist() == [2 * MB] * 4
    assert fast.counts.tolist() == [False, True, True, True]
    # The first gradient of all begins the timeline.
    assert min(e.begun_s for e in fast.exchanges[0]) == about(0.0)


def test_operations_at_one_time_have_lanes_of_their_own(tmp_path):
    run(tmp_path, num_steps=2)
    _, line = built(tmp_path)
    assert [e.lane for e in line.ranks[0].exchanges[1]] == [0, 1]  # it waits in both
    assert [e.lane for e in line.ranks[1].exchanges[1]] == [0, 0]


def test_what_ranks_do_together_between_steps_is_no_computing(tmp_path):
    for rank in (0, 1):
        made = recorder(tmp_path, rank)
        for begun_s in (1.0, 2.0, 9.0):
            operation(made, "gradients.0.0", START_S + begun_s, START_S + begun_s + 0.1)
            # In the forward pass, as a loss of other weights has it.
            operation(
                made, "losses.0", START_S + begun_s + 0.4, START_S + begun_s + 0.5
            )
        operation(made, "state", START_S + 8, START_S + 8.5, is_traced=False)
    _, line = built(tmp_path)
    one = line.ranks[1]
    assert (one.computed_s - one.start_s).tolist() == about([0.0, 0.9, 0.5])


def test_a_step_that_is_traced_again_does_not_count(tmp_path):
    for rank in (0, 1):
        made = recorder(tmp_path, rank)
        for fit in (0.0, 10.0):  # a second fit has a graph of its own, and the names
            gradients(made, "gradients.0.0", START_S + fit)
            for begun_s in (3.0, 4.0):
                at_s = START_S + fit + begun_s
                operation(made, "gradients.0.0", at_s, at_s + 0.1)
    _, line = built(tmp_path)
    assert line.ranks[0].counts.tolist() == [False, True, False, True]


@pytest.mark.parametrize(("host", "apart_s"), [("node2", 0.0), ("node1", 0.5)])
def test_clocks_of_machines_are_put_together(tmp_path, host, apart_s):
    """Those of one machine are one clock: what is apart there is so."""
    for rank, its_host, late_s in ((0, "node1", 0.0), (1, host, 0.5)):
        made = recorder(tmp_path, rank, host=its_host)
        for begun_s in (1.0, 2.0, 3.0):
            at_s = START_S + begun_s + late_s
            operation(made, "gradients.0.0", at_s, at_s + 0.1)
    _, line = built(tmp_path)
    found = line.ranks[1].ended_s - line.ranks[0].ended_s
    assert found == about([apart_s] * 3)


def test_choosing_what_to_send_is_told_from_sending_it(tmp_path):
    for rank, begun_s in ((0, 0.0), (1, 0.010)):
        made = recorder(tmp_path, rank, compression="powersgd:4")
        gradients(made, "gradients.0.0", START_S)
        for step in (1.0, 2.0):
            at_s, all_s = START_S + step + begun_s, START_S + step + 0.010
            name = "gradients.0.0.compressed"
            # Two messages of one name, with work before, between and after.
            for at, until in ((at_s + 0.003, all_s + 0.005), (all_s + 0.007,) * 2):
                operation(made, f"{name}.64", at, until + 0.001, 100, is_traced=False)
            operation(made, name, at_s, all_s + 0.010, kind="work")
    found, line = built(tmp_path)
    ranks = summary.of_ranks(found, line)
    first = line.ranks[0]
    assert first.ready_s - first.computed_s == about([0.003] * 2)
    # The work, less what its two operations took: 13 of them, and 1, and 3, and 1 ms.
    for one, selecting_s in zip(ranks, (0.006, 0.006), strict=True):
        assert one.selecting_s == about(selecting_s)
        assert one.sent_bytes == 200 and one.dense_bytes == 2 * MB
    assert ranks[0].waiting_s == about(0.010)
    assert ranks[1].waiting_s == about(0.0)
    assert first.exchanges[1][0].name == "0.0.compressed.64"
    assert "1/1e+04 of dense gradients" in summary.lines(found, line, ranks)[2]
    assert "selecting" in summary.table_lines(ranks)[0]


def test_lines_and_table(tmp_path):
    run(tmp_path, num_steps=1001)
    found, line = built(tmp_path)
    ranks = summary.of_ranks(found, line)
    assert summary.lines(found, line, ranks) == [
        "steps      1 001 of 36.0 ms on 2 ranks: 27.8 steps/s",
        "overlap    38 % to 57 % of the exchange under way while a rank computes",
        "wire       2.0 MB a step from each rank, as dense gradients",
    ]
    table = [re.split(r"  +", row) for row in summary.table_lines(ranks)]
    assert table[0][:5] == ["rank", "steps", "computing", "waiting", "reducing"]
    assert table[0][5:] == ["overlap", "sent a step", "dense a step", "end"]
    assert table[1][1:5] == ["1 001", "20.0 ms", "10.0 ms", "6.0 ms"]
    assert table[2][1:5] == ["1 001", "30.0 ms", "0.0 us", "6.0 ms"]
    assert table[1][-1] == "finished at 36.0 s"


def test_a_later_life_adds_to_the_record(tmp_path):
    run(tmp_path, ends=False)
    half = '{"kind":"half of a line'
    for name in ("trace.jsonl", "trace-1.jsonl"):  # the ranks were killed
        with (tmp_path / name).open("a") as file:
            file.write(half)
    for rank in range(3):
        made = recorder(tmp_path, rank, ranks=3, begun_s=START_S + 60, goes_on=True)
        for begun_s in (70, 71):
            at_s = START_S + begun_s
            operation(made, "gradients.0.0", at_s, at_s + 0.1)
        made.note("finished")
        made.close()
    found, line = built(tmp_path)
    assert [len(life) for life in found.lives] == [2, 3]
    assert [len(one.ended_s) for one in line.ranks.values()] == [22, 22, 2]
    ranks = summary.of_ranks(found, line)
    told = summary.happenings(found, line)
    assert summary.lines(found, line, ranks)[3] == "lives      2, on 2 and 3 ranks"
    assert "life 2 began, on 3 ranks" in [words for _, words in told]
    assert half not in (tmp_path / "trace-1.jsonl").read_text()


def test_files_of_an_earlier_job_count_for_nothing(tmp_path):
    run(tmp_path, computing_s=(0.02,) * 4)
    recorders.clear(tmp_path)  # as the first rank does
    assert [path.name for path in tmp_path.iterdir()] == ["trace.jsonl"]
    run(tmp_path, computing_s=(0.02,) * 4)
    # On another machine nobody removed the file of a rank.
    old = (tmp_path / "trace-2.jsonl").read_text()
    run(tmp_path, begun_s=START_S + 100)
    (tmp_path / "trace-2.jsonl").write_text(old)
    found = trace.read(tmp_path)
    assert [sorted(life) for life in found.lives] == [[0, 1]]


def test_a_rank_whose_file_is_elsewhere_is_named(tmp_path):
    run(tmp_path, computing_s=(0.02, 0.02, 0.02))
    (tmp_path / "trace-1.jsonl").unlink()
    found = report.write(tmp_path)
    assert found.lines[3].startswith("not here   trace-1.jsonl: copy them")
    assert [row.split()[0] for row in found.lines[5:]] == ["0", "2"]


def test_three_files_that_need_nothing_else(tmp_path):
    run(tmp_path, bucket_bytes=MB)
    found = report.write(tmp_path, tmp_path / "out")
    png = found.picture.read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert 1200 < width < 1700 and 700 < height < 2000
    page = Page(found.page.read_text())
    assert not page.open and page.references
    assert all(one.startswith("data:image/png;base64,") for one in page.references)
    (image,) = page.images
    assert "hfdt, 2 ranks, buckets of 1.0 MB" in image["alt"]
    assert [path.name for path in sorted(found.page.parent.iterdir())] == [
        "report.html",
        "report.png",
        "trace.perfetto.json",
    ]


def test_bytes_are_drawn_where_they_differ_from_dense_ones(tmp_path):
    heights = []
    for num_bytes in (2 * MB, 20 * MB):
        folder = tmp_path / str(num_bytes)
        for rank in (0, 1):
            made = recorder(folder, rank)
            gradients(made, "gradients.0.0", START_S, num_bytes)
            for begun_s in range(9):
                at_s = START_S + 1 + begun_s
                operation(made, "gradients.0.0", at_s, at_s + 0.1, 2 * MB)
        png = report.write(folder).picture.read_bytes()
        heights.append(struct.unpack(">II", png[16:24])[1])
    assert heights[1] > heights[0]


def test_events_are_as_the_format_wants_them(tmp_path):
    run(tmp_path)
    text = report.write(tmp_path).perfetto.read_text()
    events = json.loads(text, parse_constant=None)["traceEvents"]
    slices = [one for one in events if one["ph"] == "X"]
    for rank in (0, 1):
        mine = [one for one in slices if one["pid"] == rank + 1]
        names = [one["name"] for one in mine if one["tid"] == 0]
        assert names.count("compute") == names.count("reduce") == 20
        assert names.count("wait for the last rank") == (0 if rank else 20)
        assert len(mine) - len(names) == 40  # buckets
        for track in {one["tid"] for one in mine}:
            places = sorted((o["ts"], o["dur"]) for o in mine if o["tid"] == track)
            for (start, length), (following, _) in itertools.pairwise(places):
                assert start + length <= following + 2  # microseconds
    sent = [one["args"]["bytes"] for one in events if one["ph"] == "C"]
    assert sent == [2 * MB] * 40
    marks = [one["name"] for one in events if one["ph"] == "i"]
    assert marks == ["rank 0 finished", "rank 1 finished"]
    assert all(one["ts"] >= 0 for one in events)


def test_a_killed_rank_leaves_what_can_be_drawn(tmp_path):
    run(tmp_path, ends=False)
    path = tmp_path / "trace-1.jsonl"
    path.write_text(path.read_text()[:-30])
    found = report.write(tmp_path)
    assert [row.split("  ")[-1] for row in found.lines[4:]] == ["cut off at 0.7 s"] * 2
    text = found.page.read_text()
    assert text.count("<td class=alarm>cut off at ") == 2
    assert "the record of rank 1 ends: it was killed, or goes on" in text


def damaged(folder):
    run(folder)
    path = folder / "trace-1.jsonl"
    path.write_text(path.read_text().replace('"kind"', "kind", 3))


def without_steps(folder):
    made = recorder(folder, 0)
    made.note("failed", text="ValueError: a <wrong> shape")


def of_nfdt(folder):
    TraceWriter(folder, {"algorithm": "asgd"}).close()


def without_facts(folder):
    folder.mkdir()
    (folder / "trace.jsonl").touch()


REFUSED = {
    "no folder": (
        lambda folder: None,
        r"a folder must hold trace\.jsonl of a run\. Received: .*/trace\.jsonl \(No "
        r"such file or directory\)\. Write one with hfdt run --trace DIR\.",
    ),
    "an empty folder": (lambda folder: folder.mkdir(), r"Write one with hfdt run"),
    "an empty file": (without_facts, "must begin with the facts .* Run the job again"),
    "of NFDT": (of_nfdt, r"Received: .* of nfdt run\. Run: nfdt report .*/trace$"),
    "damaged": (damaged, r"Received: line 1 of .*trace-1\.jsonl: .* Delete that line"),
    "no step": (
        without_steps,
        r"at least one step\. Received: none in .*; rank 0 failed: ValueError: a "
        r"<wrong> shape\. The run ended .* see its own messages\.",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_command_refuses_in_one_line(tmp_path, what):
    make, words = REFUSED[what]
    make(tmp_path / "trace")
    done = CliRunner().invoke(cli.main, ["report", str(tmp_path / "trace")])
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("hfdt: ") and done.stderr.count("\n") == 1
    assert re.search(words, done.stderr.strip()), done.stderr


def test_the_report_of_the_other_framework_is_named(tmp_path):
    run(tmp_path)
    done = CliRunner().invoke(inspection.report, [str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.startswith("nfdt: nfdt report draws traces of nfdt run.")
    assert done.stderr.endswith(f"Run: hfdt report {tmp_path}\n")


def test_the_command_prints_lines_and_table(tmp_path):
    run(tmp_path)
    words = ["report", str(tmp_path / "trace-1.jsonl"), "--open", "no"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("steps      20 of 36.0 ms")
    assert lines[-3:] == [
        f"picture    {tmp_path}/report.png",
        f"page       {tmp_path}/report.html",
        f"perfetto   {tmp_path}/trace.perfetto.json",
    ]


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_job(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hfdt.install.install.check_installed", lambda: None)
    (tmp_path / "train.py").touch()
    (tmp_path / "file").touch()
    words = ["run", "-np", "2", "--trace", "file", "train.py"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 2
    assert re.fullmatch(
        r"hfdt: the folder of a trace must be writable\. Received: .*/file \(.*\)\. "
        r"Name another one\.\n",
        done.stderr,
    )
    assert not (tmp_path / "hfdt-logs").exists()


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
def test_a_job_trains_the_same_and_leaves_what_it_did(tmp_path):
    run_job(tmp_path, "trace_job.py", tmp_path / "trace")
    found, line = built(tmp_path / "trace")
    assert [sorted(life) for life in found.lives] == [[0, 1]]
    assert found.facts["bucket_bytes"] == trace_job("BUCKET_BYTES")
    batches = trace_job("BATCHES")
    # A step of the user's: two epochs; accumulation: each third; a loop by hand.
    fits = [2 * batches, 2 * batches // 3, batches]
    for one in line.ranks.values():
        assert len(one.ended_s) == sum(fits)
        edges = np.stack(one.edges)
        assert (np.diff(edges, axis=0) >= 0).all()
        assert (edges[0, 1:] >= edges[-1, :-1] - 1e-6).all()
        # Behind the 100 * 100 of the second layer there is a bucket of its own.
        assert {len(e) for e in one.exchanges} == {2}
        assert (one.sent_bytes == one.dense_bytes).all()
        assert (one.hidden_s <= one.exchanged_s).all()
    # Rank 0 waits in the loop, of which the first step was traced.
    loop = slice(-batches + 1, None)
    waited_s = [one.met_s[loop] - one.ready_s[loop] for one in line.ranks.values()]
    slow_s = trace_job("SLOW_S")
    assert np.median(waited_s[0]) > 0.5 * slow_s > np.median(waited_s[1])
    assert np.array_equal(line.ranks[0].counts, line.ranks[1].counts)
    lines = report.write(tmp_path / "trace").lines
    assert "finished at" in lines[-1] and "finished at" in lines[-2]


def trace_job(name):
    """Returns a number that the program of the job has."""
    text = (HERE / "trace_job.py").read_text()
    names, values = re.search(r"^(BATCHES.*) = (.*)$", text, re.M).groups()
    numbers = map(ast.literal_eval, values.split(", "))
    return dict(zip(names.split(", "), numbers, strict=True))[name]


def test_bytes_that_a_rank_sends():
    assert ring_bytes(100, 1) == 0
    assert sent_bytes("sum", 100, 4) == 150
    assert sent_bytes("allgather", 100, 4) == 300
    assert sent_bytes("alltoall", 100, 4) == 75
    assert sent_bytes("broadcast", 100, 4) == 100
