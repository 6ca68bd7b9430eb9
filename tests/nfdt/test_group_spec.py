"""What a worker says of a group: there and back as bytes, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from nfdt.protocol import group_spec, serialization
from nfdt.protocol.group_spec import GroupSpec
from tests.nfdt.services import SPEC, START

FULL = dataclasses.replace(
    SPEC,
    constraints=({"class_name": "NonNeg", "config": {}}, None),
    undecayed=("dense/bias",),
    wire="bfloat16",
    shard=1,
    opened_by=2,
)


@pytest.mark.parametrize("spec", [SPEC, FULL])
def test_a_spec_comes_back_with_its_values(spec):
    found, values = group_spec.unpack(spec.pack(START))
    assert found == spec
    np.testing.assert_array_equal(values, START)
    values[0] = 7  # they are the receiver's own


def test_values_of_every_type_come_back():
    for name, dtype in group_spec.WIRE_TYPES.items():
        spec = dataclasses.replace(SPEC, dtype=name)
        _, values = group_spec.unpack(spec.pack(START.astype(dtype)))
        assert values.dtype == dtype


def test_a_spec_lies_in_checkpoints_as_it_always_did():
    """A field of another form would refuse all runs that are to be resumed."""
    kept = {
        "algorithm": "asgd",
        "optimizer": {"class_name": "SGD", "config": {"momentum": 0.9}},
        "variables": [["dense/kernel", [2, 2]], ["dense/bias", [1]]],
        "wire": "float32",
        "constraints": [None, None],
        "undecayed": [],
        "dtype": "float32",
        "shard": 0,
        "opened_by": 1,
    }
    found = GroupSpec.from_json(kept)
    assert found == dataclasses.replace(SPEC, constraints=(None, None), opened_by=1)
    # A field that is newer has a default, which old checkpoints are read with.
    newer = {"returned": "", "answered": 0.0, "compression": ""}
    assert json.loads(json.dumps(found.to_json())) == kept | newer


def test_the_size_is_that_of_all_variables():
    assert SPEC.size == 5
    assert group_spec.size_of(()) == 1
    assert group_spec.size_of((3, 0)) == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"algorithm": 3}, "algorithm"),
        ({"optimizer": {"class_name": "SGD"}}, "optimizer"),
        ({"optimizer": None}, "optimizer"),
        ({"variables": [["dense/kernel", [2, -2]]]}, "variables"),
        ({"variables": [["dense/kernel", [2, 2.0]]]}, "variables"),
        ({"variables": [["dense/kernel"]]}, "values to unpack"),
        ({"variables": [[3, [2]]]}, "paths"),
        ({"variables": None}, "NoneType"),
        ({"dtype": "object"}, "dtype"),
        ({"wire": "int8"}, "wire"),
        ({"returned": "int8"}, "returned"),
        ({"answered": 1.5}, "answered"),
        ({"answered": "all"}, "answered"),
        ({"compression": "topk"}, "compression"),
        ({"compression": "bfloat16"}, "compression"),
        ({"constraints": [None]}, "constraints"),
        ({"undecayed": [1]}, "paths"),
        ({"shard": -1}, "shard"),
        ({"shard": True}, "shard"),
        ({"opened_by": -2}, "opened_by"),
        ({"code": "import os"}, "code"),
    ],
)
def test_what_is_no_spec_is_refused(changes, field):
    found = {**SPEC.to_json(), **changes}
    with pytest.raises(ValueError, match=rf"fields of GroupSpec\. .*\(.*{field}.*\)"):
        GroupSpec.from_json(found)


def test_a_field_that_is_missing_is_named():
    found = SPEC.to_json()
    del found["wire"]
    with pytest.raises(ValueError, match="wire"):
        GroupSpec.from_json(found)


@pytest.mark.parametrize("values", [np.zeros(6, np.float32), np.zeros(3, np.uint8)])
def test_values_that_are_of_no_shard_are_refused(values):
    with pytest.raises(ValueError, match="first values must be those of a shard"):
        group_spec.unpack(SPEC.pack(values))


def test_a_text_without_bound_is_refused():
    data = serialization.pack({"a": "x" * 100})
    with pytest.raises(ValueError, match="at most 64 bytes"):
        serialization.unpack(data, 64)
