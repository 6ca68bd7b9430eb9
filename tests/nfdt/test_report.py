"""The report of synthetic runs, as a user gets it."""

import functools
import json
import re
import struct
import sys
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from fdtcore.launcher import report_command
from nfdt.cli import inspection
from nfdt.protocol.events import Use
from nfdt.telemetry import dsp_panels, report, trace
from tests.nfdt.synthetic_run import (
    START_S,
    bulk_synchronous,
    dynamic,
    event,
    run,
)

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

VOID = {"meta", "img", "source", "link", "br"}


class Page(HTMLParser):
    """Balance of tags, and what each one refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.references += [v for k, v in attributes if k in ("src", "srcset", "href")]
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def record(directory, events, happenings=(), **facts):
    writer = trace.TraceWriter(directory, {"algorithm": "ddc-asgd", **facts})
    writer.add(events)
    for kind, more in happenings:
        writer.note(kind, **more)
    writer.close()


LOST = ("lost", {"time_s": START_S + 8.0, "worker": 2, "text": "killed by <signal> 9"})
RUNS = {
    "one": (run([0.05], 100), []),
    "uneven, one lost": (run([0.05, 0.3, 0.1, 0.2], 900, lost={2: 8.0}), [LOST]),
    "synchronous": (bulk_synchronous([0.1, 0.3], 30), []),
    "a single push": ([event()], []),
    "barriers": dynamic(),
    "no losses, two groups": (
        [event(time_s=float(v), version=v, group=g) for v in (1, 2) for g in (0, 1)],
        [],
    ),
    "a group without losses": (
        [
            event(time_s=float(v), version=v, group=g, loss=1.0 if g else float("nan"))
            for v in (1, 2)
            for g in (0, 1)
        ],
        [],
    ),
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A function that returns the report of a run, drawn once."""

    @functools.cache
    def draw(name):
        folder = tmp_path_factory.mktemp("run")
        record(folder, *RUNS[name], workers=4, servers=1, batch="64 <each>")
        return report.write(folder, folder / "out")

    return draw


@pytest.mark.parametrize("name", RUNS)
def test_three_files_that_need_nothing_else(reported, name):
    found = reported(name)
    png = found.picture.read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert 1200 < width < 1700 and 700 < height < 2000
    text = found.page.read_text()
    page = Page(text)
    assert not page.open
    assert page.references and all(
        reference.startswith("data:image/png;base64,") for reference in page.references
    )
    assert not re.search(r"https?:|@import|url\(|<script", text)
    assert "traceEvents" in json.loads(found.perfetto.read_text())
    assert sorted(path.name for path in found.page.parent.iterdir()) == [
        "report.html",
        "report.png",
        "trace.perfetto.json",
    ]


def test_the_page_says_who_was_lost_and_how_much_each_did(reported):
    text = reported("uneven, one lost").page.read_text()
    assert "killed by &lt;signal&gt; 9" in text and "<signal>" not in text
    assert "64 &lt;each&gt;" in text
    rows = re.findall(
        r'<tr><th scope="row">(\d)</th><td class="number">([\d ]+)<', text
    )
    pushes = {int(worker): int(count.replace(" ", "")) for worker, count in rows}
    assert sum(pushes.values()) == 900 and len(pushes) == 4
    assert re.search(
        r'<th scope="row">2</th>.*<td class=alarm>lost at [\d.]+ s</td>', text
    )


def test_the_picture_has_words_for_who_cannot_see_it(reported):
    found = reported("uneven, one lost")
    (image,) = Page(found.page.read_text()).images
    for line in found.lines:
        assert ": ".join(line.split(maxsplit=1)) in image["alt"]


@pytest.mark.parametrize(
    ("facts", "title"),
    [
        ({}, "a run"),
        (
            {"algorithm": "asgd", "workers": 1, "servers": 2},
            "asgd, 1 worker, 2 servers",
        ),
        ({"algorithm": "asgd", "consistency": "ssp:3"}, "asgd, ssp:3"),
    ],
)
def test_headline(facts, title):
    assert report.headline(facts) == title


def test_a_trace_without_a_push_is_refused_with_what_happened(tmp_path):
    record(tmp_path, [], [("failed", {"time_s": 1.0, "worker": 0, "text": "Oops"})])
    with pytest.raises(ValueError, match=r"at least one update.*worker 0 failed: Oops"):
        report.write(tmp_path)


def test_without_matplotlib_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    record(tmp_path, *RUNS["one"])
    with pytest.raises(ValueError, match="python -m pip install matplotlib"):
        report.write(tmp_path)


def test_command(tmp_path):
    record(tmp_path, *RUNS["one"])
    done = CliRunner().invoke(inspection.report, [str(tmp_path), "--open", "no"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("updates    100 in ")
    assert lines[3:] == [
        f"picture    {tmp_path}/report.png",
        f"page       {tmp_path}/report.html",
        f"perfetto   {tmp_path}/trace.perfetto.json",
    ]


@pytest.mark.parametrize(("wanted", "count"), [("yes", 1), ("no", 0), ("auto", 0)])
def test_the_page_is_opened_where_wanted(reported, monkeypatch, wanted, count):
    found, opened = reported("one"), []
    monkeypatch.setattr(report_command.webbrowser, "open", opened.append)
    monkeypatch.setattr(report, "write", lambda directory, output: found)
    CliRunner().invoke(inspection.report, ["DIR", "--open", wanted])
    assert opened == [found.page.as_uri()] * count


def test_command_refuses_in_one_line(tmp_path):
    done = CliRunner().invoke(inspection.report, [str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.startswith("nfdt: a folder must hold trace.jsonl")
    assert done.stderr.count("\n") == 1


def test_thresholds_of_dsp_are_drawn_and_not_listed(tmp_path, monkeypatch):
    drawn = []
    for name in ("draw_thresholds", "draw_speeds"):
        monkeypatch.setattr(
            dsp_panels, name, lambda axes, *about, name=name: drawn.append(name)
        )
    events, happenings = dynamic()
    record(tmp_path, events, [*happenings, LOST], consistency="dsp")
    page = report.write(tmp_path).page.read_text()
    assert drawn == ["draw_thresholds", "draw_speeds"] * 2  # for light and dark
    table = page[page.index('id="happenings"') :]
    assert "worker 2 was lost" in table
    assert "barrier" not in table
    assert "readings" not in table


def test_lines_of_thresholds_are_those_of_the_barriers():
    _, happenings = dynamic()
    told = [{"kind": kind, **more} for kind, more in happenings]
    axes = Figure().add_subplot()
    dsp_panels.draw_thresholds(axes, told, origin_s=0.0, end_s=40.0)
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    barriers = dsp_panels.barriers(told)
    for key, name, _ in dsp_panels._LINES:
        assert list(lines[name])[:-1] == [one[key] for one in barriers]
    assert barriers[0]["factor"] == pytest.approx(3.0)


def test_what_was_dropped_is_in_the_table_and_the_summary(tmp_path):
    dropped = event(worker=1, version=1, staleness=1, lead=2, use=int(Use.DROPPED))
    record(tmp_path, [event(), event(version=2, time_s=START_S + 1), dropped])
    found = report.write(tmp_path)
    assert "1 late gradients dropped" in found.lines[0]
    assert found.lines[1] == "staleness  mean 0.0, 95 % 0, max 0; lead max 2"
    row = re.search(r'<tr><th scope="row">1</th>(.*?)</tr>', found.page.read_text())
    cells = re.findall(r">([^<>]*)</td>", row[1])
    assert cells == ["1", "1", "1", "-", "2", "-", "-", "-"]
