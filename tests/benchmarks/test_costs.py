"""Costs beside their references: ratios, limits, the table and the picture."""

import json

import pytest

from benchmarks import cost_report, costs
from benchmarks.costs import Measured

LARGE = Measured("exchange", costs.LARGEST, (0.30, 0.50, 0.40), (0.10, 0.10, 0.10))
SMALL = Measured("exchange", 100_000, (0.001,), (0.0001,))
UPDATE = Measured("dc-asgd-c", costs.LARGEST, (0.09,), (0.01,))


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_taken_within_each_round():
    assert LARGE.ratio == pytest.approx((4.0, 3.0, 5.0, 3))


def test_a_cost_is_judged_by_its_median_at_the_largest_payload():
    assert LARGE.verdict == "reached"
    assert LARGE._replace(seconds=(0.5, 0.5, 0.4)).verdict == "missed"
    assert UPDATE.verdict == "missed"
    assert SMALL.verdict == "-"


def test_limits_are_the_promised_ones():
    assert dict(costs.LIMITS) == {
        ("exchange", 25_000_000): 4.0,
        ("dc-asgd-c", 25_000_000): 8.0,
    }


def test_limits_that_were_not_measured_are_not_passed_over():
    assert costs.verdicts([LARGE, SMALL]) == {
        "reached": ["exchange of 25 M"],
        "missed": [],
        "not measured": ["dc-asgd-c of 25 M"],
    }


def test_the_table_states_times_ratios_and_bytes_a_second():
    exchanges, updates = cost_report.cost_tables([LARGE, UPDATE]).split("\n\n")
    assert "plain send-receive" in exchanges
    assert cells(exchanges.splitlines()[2]) == [
        "exchange, 25 M",
        "400.00",
        "100.00",
        "4.0",
        "3.0 .. 5.0",
        "<= 4",
        "reached",
        "500",  # 100 MB there and 100 MB back in 0.4 s
    ]
    assert "numpy.copyto" in updates
    assert cells(updates.splitlines()[2])[-2:] == ["<= 8", "missed"]


def test_the_figures_hold_every_round():
    (one,) = json.loads(json.dumps(cost_report.as_json([LARGE])))
    assert one["seconds"] == list(LARGE.seconds)
    assert one["reference_seconds"] == list(LARGE.reference_s)


def test_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    cost_report.draw(tmp_path / "costs.png", [LARGE, SMALL, UPDATE], "a machine")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")
