"""Ratios within rounds, their spread, and the targets."""

import pytest

from benchmarks import ratios

ROUNDS = (
    {"hfdt": 90.0, "copies": 100.0, "mpirun": 40.0, "gloo": 60.0},
    {"hfdt": 99.0, "copies": 100.0, "mpirun": 70.0, "gloo": 66.0},
    {"hfdt": 96.0, "copies": 100.0, "gloo": 64.0},
)


def one_row(question: str) -> ratios.Row:
    """Return the row of ROUNDS that answers the question."""
    (row,) = (row for row in ratios.compare("cnn", ROUNDS) if row.question == question)
    return row


def test_spread_of_an_even_number_of_values():
    assert ratios.spread([4.0, 1.0, 2.0, 9.0]) == (3.0, 1.0, 9.0, 4)


def test_ratios_are_taken_within_each_round():
    row = one_row("cost of communication")
    assert row.values == pytest.approx((0.90, 0.99, 0.96))
    assert row.ratio == pytest.approx((0.96, 0.90, 0.99, 3))


def test_the_faster_of_two_references_is_the_one_with_the_greater_median():
    row = one_row("Horovod by hand")
    assert row.reference == "gloo"
    assert row.ratio.median == pytest.approx(1.5)


def test_a_round_without_one_side_is_left_out():
    assert ratios.paired_ratios(ROUNDS, "hfdt", "mpirun") == pytest.approx(
        [90 / 40, 99 / 70]
    )


def test_a_comparison_whose_contender_never_ran_has_no_row():
    questions = {row.question for row in ratios.compare("cnn", ROUNDS)}
    assert questions == {"cost of communication", "Horovod by hand"}


@pytest.mark.parametrize(
    ("target", "verdict"), [(0.96, "reached"), (0.97, "missed"), (None, "-")]
)
def test_verdict_compares_the_median_with_the_target(target, verdict):
    row = one_row("cost of communication")
    exact = row.ratio._replace(median=0.96)
    assert row._replace(ratio=exact, target=target).verdict == verdict


def test_the_targets_are_the_promised_ones():
    targets = {one.question: dict(one.targets) for one in ratios.COMPARISONS}
    assert targets == {
        "cost of communication": {"cnn": 0.95},
        "overhead at -np 1": {"cnn": 0.97, "payload": 0.97},
        "Horovod by hand": {"cnn": 1.3, "payload": 1.3},
        "tf.distribute": {"cnn": 1.5, "payload": 1.5},
        "cost of the server": {"cnn": 0.90, "uneven": 0.90},
        "ParameterServerStrategy": {"cnn": 1.4},
        "asynchronous or synchronous": {"uneven": 1.6},
        "exchange hidden": {},
    }


def test_targets_that_were_not_measured_are_not_passed_over():
    rows = ratios.compare("cnn", ROUNDS)
    lines = ratios.verdicts(rows, ["cnn"], ["copies", "gloo", "mirrored"])
    assert lines == {
        "reached": ["cnn: cost of communication", "cnn: Horovod by hand"],
        "missed": [],
        "not measured": ["cnn: tf.distribute", "cnn: cost of the server"],
    }
