"""Tables, JSON and the picture."""

import json

import pytest

from benchmarks import ratios, report

ROUNDS = (
    {"hfdt": 90.0, "copies": 100.0, "gloo": 60.0},
    {"hfdt": 99.0, "copies": 100.0, "gloo": 66.0},
    {"hfdt": 96.0, "copies": 100.0, "gloo": 64.0},
)


def test_table_is_aligned_markdown():
    assert report.table(["who", "n"], [["a", "1"], ["long name", "12345"]]) == (
        "| who       |     n |\n"
        "| --------- | ----: |\n"
        "| a         |     1 |\n"
        "| long name | 12345 |"
    )


def test_ratio_table_shows_spread_target_and_verdict():
    line = report.ratio_table(ratios.compare("cnn", ROUNDS)).splitlines()[2]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "cost of communication: hfdt run -np 2 / two copies, no communication",
        "0.96",
        "0.90 .. 0.99",
        ">= 0.95",
        "reached",
    ]


def test_speed_table_leaves_out_who_did_not_run():
    text = report.speed_table(ROUNDS)
    assert "MultiWorkerMirrored" not in text
    assert len(text.splitlines()) == 2 + 3


def test_json_holds_every_round(tmp_path):
    report.write_json(tmp_path / "speed.json", {"cores": 2}, {"cnn": ROUNDS})
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content == {"cores": 2, "images_per_s_per_rank": {"cnn": list(ROUNDS)}}


def test_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    report.draw(tmp_path / "speed.png", ratios.compare("cnn", ROUNDS), "a machine")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
