"""The table, and names looked up in it."""

import numpy as np
import pytest

from nfdt import algorithms
from nfdt.algorithms import ALGORITHMS, ddc_asgd, find
from nfdt.rules.averaging import DelayMomentum
from nfdt.rules.corrections import NoCorrection
from nfdt.rules.delay_compensation import DelayedTaylor
from nfdt.rules.rule_state import arrays_of

NAMES = {
    "asgd",
    "dc-asgd-c",
    "dc-asgd-a",
    "dc-asgdk",
    "ddc-asgd",
    "staleness-aware",
    "gap-aware",
    "dana-slim",
    "easgd",
}


def test_the_table_has_every_algorithm():
    assert ALGORITHMS.keys() == NAMES
    assert algorithms.DEFAULT == "ddc-asgd"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_row_says_what_it_does_and_where_it_is_from(name):
    one = find(name)
    assert one.name == name
    assert 0 < len(one.summary) < 70
    assert "\n" not in one.summary
    assert one.memory
    assert one.source


@pytest.mark.parametrize("name", sorted(NAMES))
def test_memory_is_counted(name):
    """What the table says is what the rules make: M for v, 1 for each array."""
    one = find(name)
    arrays = len(arrays_of(one.correction.init(np.zeros(2), 3)))
    if one.optimizer is not None:
        arrays += len(arrays_of(one.optimizer.init(np.zeros(2), 3)))
    parts = [str(arrays)] if arrays else []
    parts += ["M"] if one.correction.needs_pulled else []
    assert one.memory == ("+".join(parts) or "0")


def test_an_algorithm_is_its_own_name():
    mine = ddc_asgd(q=3)
    assert find(mine) is mine


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError) as caught:
        find("adam")
    assert "Received: 'adam'" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


def test_forms_of_ddc_asgd():
    default = ddc_asgd()
    assert default.correction == DelayedTaylor("auto", saturating=True)
    assert (default.optimizer, default.memory) == (None, "M")
    momentum = ddc_asgd(terms="momentum")
    assert momentum.correction == NoCorrection()
    assert momentum.optimizer == DelayMomentum(q="auto", caution=1.0)
    assert momentum.memory == "1"
    both = ddc_asgd(terms="momentum+taylor")
    assert both.correction == DelayedTaylor("auto", saturating=False)
    assert both.optimizer == DelayMomentum(q="auto", caution=4.0)
    assert both.memory == "1+M"


def test_terms_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"Received: terms='none'\. Use 'taylor'"):
        ddc_asgd(terms="none")


def test_q_is_checked_at_once():
    with pytest.raises(ValueError, match="q must be"):
        ddc_asgd(q=-1)
