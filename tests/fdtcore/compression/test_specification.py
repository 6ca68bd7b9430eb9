"""What users write, and the warm-up that it means."""

from __future__ import annotations

import math

import pytest

from fdtcore.compression.sparsity import TrainedSoFar, density
from fdtcore.compression.specification import Specification, is_stateful

FORMS = {
    "topk:0.01": Specification("topk", 0.01),
    "topk:1": Specification("topk", 1.0),
    "sign": Specification("sign"),
    "powersgd:4": Specification("powersgd", rank=4, start_steps=100),
    "powersgd:2,start=0": Specification("powersgd", rank=2),
    "dgc:0.001": Specification("dgc", 0.001, warmup_epochs=4),
    "dgc:0.001,warmup=0": Specification("dgc", 0.001),
    "dgc:0.01,warmup=500steps": Specification("dgc", 0.01, warmup_steps=500),
    " dgc:0.01, warmup = 2.5": Specification("dgc", 0.01, warmup_epochs=2.5),
}


@pytest.mark.parametrize("text", FORMS)
def test_forms(text):
    assert Specification.parse(text) == FORMS[text]
    assert is_stateful(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "none", "fp16", "topk", "topk:", "topk:0", "topk:1.1", "topk:-1"),
        *("topk:nan", "topk:0.1,warmup=4", "sign:1", "powersgd", "powersgd:0"),
        *("powersgd:1.5", "powersgd:2,start=-1", "powersgd:2,start", "dgc"),
        *("dgc:2", "dgc:0.1,warmup=-1", "dgc:0.1,warmup=0steps", "dgc:0.1,w=1"),
        *("dgc:0.1,warmup=1,warmup=2", "randk:0.1"),
    ],
)
def test_what_is_none_of_them(text):
    assert not is_stateful(text)


def test_a_value_that_is_no_text_is_none():
    assert not is_stateful(0.01)


def at(text, steps, epochs):
    return density(Specification.parse(text), TrainedSoFar(steps, epochs))


def test_the_warm_up_is_that_of_the_paper():
    found = [at("dgc:0.001", 0, epoch) for epoch in range(6)]
    expected = [0.25, 0.0625, 0.015625, 0.004, 0.001, 0.001]
    assert found == pytest.approx(expected, rel=0.02)
    assert at("dgc:0.001", 0, 3.99) == found[3]


def test_a_warm_up_in_steps():
    found = [at("dgc:0.001,warmup=8steps", step, math.nan) for step in range(10)]
    stages = [0.001 ** (k / 5) for k in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    assert found == pytest.approx(stages)


def test_no_warm_up():
    assert at("dgc:0.01,warmup=0", 0, math.nan) == 0.01
    assert at("topk:0.01", 0, math.nan) == 0.01


def test_a_warm_up_of_part_of_an_epoch():
    assert at("dgc:0.01,warmup=0.5", 0, 0.1) == pytest.approx(0.1)
    assert at("dgc:0.01,warmup=0.5", 0, 0.5) == pytest.approx(0.01)


def test_epochs_are_of_a_fit():
    with pytest.raises(ValueError, match=r"outside of one.*dgc:0.001,warmup=500steps"):
        at("dgc:0.001", 3, math.nan)
