"""Which contenders a choice of works and references makes run."""

import pytest

from benchmarks.launches import CONTENDERS
from benchmarks.settings import REFERENCES, Settings
from benchmarks.work import WORKS


def names(work: str, *only: str) -> list[str]:
    """Return the contenders of a work that run for the chosen references."""
    return Settings(1, False, (work,), only).names(WORKS[work])


def test_ours_run_only_where_a_chosen_reference_needs_them():
    assert names("cnn", "alone") == ["hfdt-one", "alone"]
    assert names("cnn", "gloo") == ["hfdt", "gloo"]
    assert names("cnn", "pss") == ["nfdt", "pss"]
    assert names("payload", "nfdt") == ["nfdt", "nfdt-overlap"]
    assert names("cnn", "gloo", "copies") == ["hfdt", "copies", "gloo", "nfdt"]


@pytest.mark.parametrize("work", WORKS)
def test_all_contenders_of_a_work_run_where_nothing_is_left_out(work):
    assert names(work, *REFERENCES) == list(WORKS[work].contenders)
    assert set(WORKS[work].contenders) <= set(CONTENDERS)


def test_a_reference_that_a_work_has_not_makes_nobody_run_in_it():
    assert names("uneven", "pss") == []


def test_no_contender_is_without_a_work():
    assert {name for one in WORKS.values() for name in one.contenders} == set(
        CONTENDERS
    )


def test_quick_shortens_the_work_and_leaves_its_batch():
    quick = Settings(1, True, ("cnn",), REFERENCES).work("cnn")
    assert quick.steps < WORKS["cnn"].steps
    assert quick.batch_per_rank == WORKS["cnn"].batch_per_rank
