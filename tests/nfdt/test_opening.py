"""Workers that bring different models are told what differs."""

import pytest

from nfdt.protocol.messages import Kind
from tests.nfdt.services import SPEC, opening, service


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "dc-asgd-a"}, ["algorithm asgd", "dc-asgd-a on worker 1"]),
        (
            {"variables": (("dense/kernel", (5,)),)},
            ["[2, 2]] on worker 0", "[5]] on worker 1"],
        ),
        (
            {"variables": (*SPEC.variables, ("dense/gain", (1,)))},
            ["nothing on worker 0", "'dense/gain', [1]] on worker 1"],
        ),
        (
            {"optimizer": {"class_name": "Adam", "config": {}}},
            ["optimizer", "Adam", "worker 1"],
        ),
    ],
)
def test_another_model_is_refused(changes, words):
    made = service()
    made.handle(opening(0), 0.0)
    (answer,) = made.handle(opening(1, **changes), 0.0)
    assert answer.kind is Kind.REFUSED
    text = answer.payload.decode()
    assert text.startswith("all workers must train the same model. Received: ")
    assert all(word in text for word in words)
