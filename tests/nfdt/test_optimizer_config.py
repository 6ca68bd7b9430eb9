"""What is said of two workers that do not train the same."""

from __future__ import annotations

import pytest

from nfdt.protocol.group_spec import GroupSpec, difference

ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.1, "clipnorm": None}}


def of(optimizer):
    variables = (("dense/kernel", (3, 1)),)
    return GroupSpec("asgd", optimizer, variables, "float32", "float32")


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (ADAM, None),
        ({**ADAM, "class_name": "SGD"}, ("optimizer Adam", "SGD")),
        (
            {**ADAM, "config": {"learning_rate": 0.1, "clipnorm": 1.0}},
            ("optimizer Adam with clipnorm=None", "clipnorm=1.0"),
        ),
        ({**ADAM, "module": "mine"}, ("optimizer Adam", "another of that name")),
    ],
)
def test_optimizers_are_named_by_class_or_by_the_setting_that_differs(other, found):
    assert difference(of(ADAM), of(other)) == found
