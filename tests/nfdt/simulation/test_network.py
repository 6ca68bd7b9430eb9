"""The group of variables that a simulation has."""

import types

import pytest

from nfdt.simulation.network import only_group


def test_a_script_that_trains_two_models_is_refused_with_a_way_out():
    assert only_group(types.SimpleNamespace(groups={7: None})) == 7
    with pytest.raises(ValueError, match=r"Received: 2 sets of variables\. Simulate"):
        only_group(types.SimpleNamespace(groups={7: None, 8: None}))
