"""What importing large packages does to the garbage collector."""

from __future__ import annotations

import gc

import pytest

from fdtcore.settings import uncollected


@pytest.fixture(autouse=True)
def collector():
    """Collects as before when the test is over."""
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_rests_and_then_goes_on():
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_imported_is_not_looked_through_again():
    with uncollected():
        kept = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= len(kept)


def test_an_import_that_fails_leaves_the_collector_on():
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_a_user_who_wants_no_collector_gets_none():
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
