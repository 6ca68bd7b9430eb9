"""What claims make of made-up results, and what their pages say."""

import pytest

from benchmarks.papers import comparison_page as page
from benchmarks.papers import (
    dc_asgd,
    ddc_asgd_fashion_mnist,
    dsp,
    dsp_changing,
    report,
    server_rate,
    tan,
)
from benchmarks.papers.averages import balanced, best_rate, mean
from benchmarks.papers.contenders import DEFAULT
from benchmarks.papers.verdicts import Verdict, overall
from tests.benchmarks.papers.made_up_runs import outcome, run

DDC = ddc_asgd_fashion_mnist.CLAIM
HOLDS, PARTLY, FAILS = Verdict.HOLDS, Verdict.PARTLY, Verdict.FAILS


def results(claim, accuracy):
    """Returns results of all runs, with accuracies that follow from their settings."""
    return {one: outcome(accuracy(one)) for one in claim.runs(False)}


def ranked(*names, worse=()):
    """Returns accuracies by a ranking of algorithms, turned round in some cases."""

    def accuracy(one):
        place = names.index(one.algorithm) if one.algorithm in names else len(names)
        if one.workers == 1:
            return 0.9
        return 0.5 + 0.1 * place if one.workers in worse else 0.8 - 0.1 * place

    return accuracy


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (ranked(DEFAULT, "dc-asgdk", "asgd"), HOLDS),
        (ranked(DEFAULT, "dc-asgdk", "asgd", worse=(16,)), PARTLY),
        (ranked("asgd", DEFAULT, "dc-asgdk"), PARTLY),
        (ranked("asgd", "dc-asgdk", DEFAULT), FAILS),
    ],
)
def test_ddc_asgd(accuracy, verdict):
    assert overall(DDC.judge(results(DDC, accuracy))) is verdict


def test_ddc_asgd_is_judged_by_its_best_rate_and_by_the_user_s():
    def accuracy(one):
        if one.workers == 1:
            return 0.9 if one.rate == 0.3 else 0.8
        if one.algorithm == DEFAULT:
            return 0.1 if one.rate == 0.3 else 0.8
        return 0.7 if one.rate == 0.3 else 0.5

    best, same = DDC.judge(results(DDC, accuracy))[:2]
    assert best.verdict is HOLDS and same.verdict is FAILS
    assert "0.3" in same.text


@pytest.mark.parametrize(
    ("order", "verdict"),
    [
        (("dc-asgd-a", "dc-asgd-c", "asgd"), PARTLY),  # below sequential SGD
        (("asgd", "dc-asgd-c", "dc-asgd-a"), PARTLY),
    ],
)
def test_dc_asgd(order, verdict):
    assert (
        overall(dc_asgd.CLAIM.judge(results(dc_asgd.CLAIM, ranked(*order)))) is verdict
    )


def test_dc_asgd_holds_where_the_last_is_as_good_as_one_worker():
    ranks = {"dc-asgd-a": 0.9, "dc-asgd-c": 0.8, "asgd": 0.7}
    found = results(
        dc_asgd.CLAIM, lambda r: 0.9 if r.workers == 1 else ranks[r.algorithm]
    )
    assert overall(dc_asgd.CLAIM.judge(found)) is HOLDS


def test_the_published_table_would_hold():
    def published(one):
        names = ["asgd", "dc-asgdk", tan.OF_WORKERS.get(one.workers)]
        return tan.PUBLISHED[one.workers][names.index(one.algorithm)]

    found = results(tan.CLAIM, published)
    assert overall(tan.CLAIM.judge(found)) is HOLDS
    assert "85.6 +- 0.0 |         85.6 |" in tan.CLAIM.tables(found)


def test_server_rate_is_judged_by_its_curves():
    def curve(one):
        serious = one.workers > 4
        swing = 0.1 * one.rate
        best = 0.5 if serious else 1.0
        late = 0.8 - 0.2 * abs(one.rate - best)
        return tuple([0.5 * one.rate] * 5 + [late, late + swing] * 7 + [late])

    found = {
        one: outcome(curve(one)[-1], accuracies=curve(one))
        for one in server_rate.CLAIM.runs(False)
    }
    statements = server_rate.CLAIM.judge(found)
    assert [s.verdict for s in statements] == [HOLDS] * 4
    calm = {
        one: found[one]._replace(accuracies=(0.5,) * 20, accuracy=0.5) for one in found
    }
    assert {s.verdict for s in server_rate.CLAIM.judge(calm)} == {FAILS}


def test_dsp_stands_between_bsp_and_ssp_or_it_does_not():
    values = {dsp.BSP: (0.9, 30), dsp.SSP: (0.8, 20), dsp.DSP: (0.85, 25)}
    values[dsp.PAPER_SSP] = values[dsp.SSP]

    def outcomes(values):
        return {
            one: outcome(values[one.consistency][0] - 0.01 * one.workers)._replace(
                time_s=values[one.consistency][1]
            )
            for one in dsp.CLAIM.runs(False)
        }

    assert {s.verdict for s in dsp.judge(outcomes(values))} == {HOLDS}
    turned = {dsp.BSP: values[dsp.SSP], dsp.SSP: values[dsp.BSP]}
    turned |= {dsp.DSP: (0.85, 25), dsp.PAPER_SSP: (0.9, 30)}
    found = [s.verdict for s in dsp.judge(outcomes(turned))]
    assert found == [FAILS, FAILS, FAILS, HOLDS, FAILS, FAILS]


def test_dsp_keeps_its_accuracy_where_it_falls_less_than_ssp_s():
    def outcomes(slope, other):
        return {
            one: outcome(
                0.8
                - (slope if one.consistency == dsp_changing.DSP else other)
                * one.workers
            )
            for one in dsp_changing.CLAIM.runs(False)
        }

    verdicts = [one.verdict for one in dsp_changing.judge(outcomes(0.01, 0.03))]
    assert verdicts == [HOLDS] * 6  # times are equal, which is as long
    verdicts = [one.verdict for one in dsp_changing.judge(outcomes(0.03, 0.01))]
    assert verdicts == [FAILS, FAILS, HOLDS] * 2


def test_seeds_count_only_where_their_case_is_complete():
    planned = DDC.runs(False)
    found = {one: outcome() for one in planned[: len(planned) // 3 + 20]}
    kept = balanced(planned, found, DDC.case)
    assert {one.seed for one in kept if one.workers == 1} == {0, 1}
    assert {one.seed for one in kept if one.workers > 1} == {0}
    assert len(kept) == len(planned) // 3 + 5


def test_a_page_says_how_much_it_rests_on(tmp_path):
    pytest.importorskip("matplotlib")
    every = results(tan.CLAIM, lambda one: 1 / one.workers)
    some = dict(list(every.items())[: len(every) // 3])
    path = tmp_path / "tan.md"
    assert report.write(tan.CLAIM, {}, tmp_path) is Verdict.OPEN
    assert "is not tested yet" in path.read_text()
    verdict = report.write(tan.CLAIM, some, tmp_path)
    assert f"**The claim {verdict.value}**, on 1 seed in each case" in path.read_text()
    assert "too few to be sure" in path.read_text()
    assert f"{len(some)} of {len(every)} runs are done" in path.read_text()
    report.write(tan.CLAIM, every, tmp_path)
    assert "**, on 3 seeds in each case.\n" in path.read_text()


@pytest.mark.parametrize("count", [5, 5 + 45 + 7, 5 + 4 * 45])
def test_a_page_is_written_whatever_is_missing(tmp_path, count):
    pytest.importorskip("matplotlib")
    every = results(DDC, ranked(DEFAULT, "dc-asgdk", "asgd"))
    some = dict(list(every.items())[:count])
    verdict = report.write(DDC, some, tmp_path)
    assert verdict is (HOLDS if count >= 50 else Verdict.OPEN)
    assert (tmp_path / f"{DDC.name}.png").exists() == (count >= 50)
    page = (tmp_path / f"{DDC.name}.md").read_text()
    assert f"on 1 seed in each of {1 + count // 45} cases out of 10" in page


def test_tables_show_the_best_rate_and_the_rates_survived():
    def accuracy(one):
        return (0.9 if one.workers == 1 else 0.85) - (one.rate > 0.2) * 0.2

    text = DDC.tables(results(DDC, accuracy))
    assert "One worker at its best rate, 0.05: 90.00%" in text
    assert "85.0 +- 0.0 @0.05" in text and "0.05 .. 0.2 (x4)" in text
    summary = next(line for line in text.splitlines() if line.startswith("| asgd"))
    assert [cell.strip() for cell in summary.strip("|").split("|")][1:] == [
        *("85.0", "85.0", "3.0")
    ]


def test_rates_are_survived_without_a_gap():
    alive = (0.05, 0.2, 0.3)

    def accuracy(one):
        return 0.9 if one.workers == 1 or one.rate in alive else 0.1

    found = page.survived(results(DDC, accuracy), "asgd", bar=0.8)
    assert found == [0.2, 0.3]


def test_means_are_over_seeds_and_the_best_rate_is_of_the_means():
    found = {
        run(rate=0.1, seed=0): outcome(0.9),
        run(rate=0.1, seed=1): outcome(0.1),
        run(rate=0.2, seed=0): outcome(0.6),
        run(rate=0.2, seed=1): outcome(0.6),
    }
    assert mean(found, rate=0.1) == pytest.approx(0.5)
    assert best_rate(found) == 0.2
