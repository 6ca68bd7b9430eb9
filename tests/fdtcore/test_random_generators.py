"""Generators that each process would seed by itself."""

import pytest

from fdtcore.examination import random_generators


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("order = np.random.default_rng().permutation(9)", True),
        ("order = np.random.default_rng(0).permutation(9)", False),
        ("order = default_rng(seed=3)", False),
        ("generator = random.Random()", True),
        ("state = np.random.RandomState()", True),
        ("bits = os.urandom(4)", True),
        ("g = tf.random.Generator.from_non_deterministic_state()", True),
        ("g = tf.random.Generator.from_seed(1)", False),
        ("np.random.shuffle(x)", False),  # seeded alike before the script begins
    ],
)
def test_those_without_a_seed_are_found(line, is_found):
    found = list(random_generators.unseeded(f"import os\n{line}\n"))
    assert [number for number, _ in found] == ([2] if is_found else [])
    assert all(text in line for _, text in found)
