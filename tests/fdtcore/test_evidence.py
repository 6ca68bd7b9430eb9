"""Whether a process has trained, and whether with the others."""

import pytest

from fdtcore import evidence


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(evidence, "_steps", [])
    monkeypatch.setattr(evidence, "_has_exchanged", [False])


def test_training_alone_in_a_job_is_a_problem():
    assert evidence.problem("hfdt", 2) is None
    evidence.note_step("steps of Adam")
    evidence.note_step("steps of SGD")
    assert evidence.problem("hfdt", 2) == (
        "a job of several processes must exchange what it trains. Received: steps of "
        "Adam in a job of 2, and nothing exchanged. Pass what you train to "
        "hfdt.distribute, or start the script with hfdt run."
    )
    assert evidence.problem("hfdt", 1) is None


def test_one_exchange_is_enough():
    evidence.note_step("steps of Adam")
    evidence.note_exchange()
    assert evidence.problem("nfdt", 4) is None
