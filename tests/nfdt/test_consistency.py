"""Short forms of the controllers, and what they go together with."""

import itertools
import re

import pytest

from nfdt import algorithms, consistency
from nfdt.options import Options
from nfdt.protocol.controllers import (
    Asynchronous,
    Backup,
    BulkSynchronous,
    DynamicSynchronous,
    LocalSteps,
    Partial,
    StaleSynchronous,
)

FORMS = {
    "asp": Asynchronous(),
    "bsp": BulkSynchronous(),
    "ssp:3": StaleSynchronous(3),
    "dsp": DynamicSynchronous(),
    "dsp:fixed": DynamicSynchronous(fixed=True),
    "dsp:s=3,w=1": DynamicSynchronous(3, 1),
    "dsp:s=4,w=2,s_min=2,s_max=8": DynamicSynchronous(4, 2, 2, 8),
    "partial:0.8": Partial(0.8),
    "partial:0.8,late=drop": Partial(0.8),
    "partial:0.8,late=keep": Partial(0.8, keeps_late=True),
    "backup:2": Backup(2),
    "backup:2,late=keep": Backup(2, keeps_late=True),
    "local:8": LocalSteps(8),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    assert consistency.parse(form) == FORMS[form]


def test_every_form_that_is_taught_parses():
    assert {text.partition(":")[0] for text in consistency.EXAMPLES} == {
        text.partition(":")[0] for text in FORMS
    }
    for text in consistency.EXAMPLES:
        consistency.parse(text)
        assert text in consistency.HELP


@pytest.mark.parametrize(
    ("form", "way_out"),
    [
        ("", "For at most three steps of lead write ssp:3"),
        ("sync", "For at most three steps of lead write ssp:3"),
        ("asp:3", "Write asp"),
        ("ssp", "Write ssp:3"),
        ("ssp:", "Write ssp:3"),
        ("ssp:x", "Write ssp:3"),
        ("ssp:3,4", "Write ssp:3"),
        ("dsp:3", "options: s=3, w=1, s_min=1, s_max=10, fixed"),
        ("dsp:s", "options: s=3,"),
        ("dsp:fixed=1", "options: s=3,"),
        ("dsp:s=1,s=2", "options: s=3,"),
        ("partial", "Write partial:0.8,late=keep; options: late=keep"),
        ("partial:late=keep", "Write partial:0.8,late=keep"),
        ("partial:0.8,late=never", "options: late=keep"),
        ("backup:1.5", "Write backup:2"),
        ("local", "Write local:8"),
    ],
)
def test_what_is_no_form_is_told_how_to_write_one(form, way_out):
    rule = rf"one of asp, .*local:8\. Received: {re.escape(repr(form))}\. "
    with pytest.raises(ValueError, match=rule + ".*" + re.escape(way_out)):
        consistency.parse(form)


@pytest.mark.parametrize("form", ["ssp:-1", "dsp:w=0", "partial:1.1", "local:0"])
def test_a_number_out_of_its_range_is_named(form):
    with pytest.raises(ValueError, match=r" must .*Received: \w+=.*\. Use "):
        consistency.parse(form)


def test_a_controller_is_its_own_form():
    assert consistency.parse(Partial(0.5)) == Partial(0.5)
    assert Options(consistency=Partial(0.5)).controller == Partial(0.5)


REFUSED = [
    ({"algorithm": "easgd", "consistency": "bsp"}, "exchanges .* Use consistency asp"),
    ({"algorithm": "easgd", "consistency": "dsp"}, "exchanges .* Use consistency asp"),
    ({"algorithm": "dana-slim", "consistency": "local:8"}, "of each step.*Use another"),
    ({"algorithm": "dana-slim", "consistency": "dsp"}, "of each step.*Use another"),
    ({"algorithm": "dana-slim", "local_steps": 4}, "of each step.*local_steps=4"),
    ({"local_steps": 4, "consistency": "dsp"}, r"decides.*\. Use one of them"),
    ({"local_steps": 4, "consistency": "local:8"}, r"decides.*\. Use one of them"),
    (
        {"worker_optimizer": "adam", "consistency": "dsp"},
        "sums the changes.* Use local:8",
    ),
    (
        {"server_optimizer": "adam", "consistency": "dsp"},
        "sums the changes.* Use local:8",
    ),
    ({"overlap": True, "consistency": "bsp"}, "a round .* leave overlap out"),
    ({"overlap": True, "consistency": "backup:1"}, "a round .* leave overlap out"),
    ({"overlap": True, "consistency": "dsp"}, "a round .* leave overlap out"),
    ({"overlap": True, "local_steps": 4}, r"hides .*\. Leave overlap out"),
    ({"overlap": True, "algorithm": "easgd"}, r"hides .*\. Leave overlap out"),
    ({"servers": 2, "consistency": "local:8"}, "one server.* Use one server"),
]


@pytest.mark.parametrize(("choices", "message"), REFUSED)
def test_what_does_not_go_together_is_refused_with_a_way_out(choices, message):
    with pytest.raises(ValueError, match=r"Received: ") as refusal:
        Options(**choices)
    assert re.search(message, str(refusal.value))


@pytest.mark.parametrize(
    "choices",
    [
        {"overlap": True, "consistency": "ssp:3"},
        {"local_steps": 4, "consistency": "bsp"},
        {"local_steps": 4, "consistency": "partial:0.8"},
        {"worker_optimizer": "adam", "consistency": "local:8"},
        {"server_optimizer": "adam", "consistency": "local:8"},
        {"algorithm": "dana-slim", "consistency": "bsp"},
        {"algorithm": "easgd", "local_steps": 4},
    ],
)
def test_what_goes_together(choices):
    Options(**choices)


def test_every_other_algorithm_goes_with_every_form():
    for name, form in itertools.product(algorithms.ALGORITHMS, FORMS):
        if name not in ("easgd", "dana-slim"):
            options = Options(algorithm=name, consistency=form)
            assert options.trains_locally == form.startswith(("dsp", "local"))
