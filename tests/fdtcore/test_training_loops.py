"""Loops that train, told from loops that only look."""

from __future__ import annotations

import textwrap

import pytest

from fdtcore.training_loops import lines, lines_of

TRAINING = {
    "tape in the body": """
        for x, y in data:
            with tf.GradientTape() as tape:
                loss = model(x)
    """,
    "a function that trains": """
        def step(x, y):
            optimizer.apply_gradients(pairs(x, y))
        for x, y in data:
            step(x, y)
    """,
    "two functions deep": """
        def inner(x):
            with GradientTape():
                pass
        def outer(x):
            inner(x)
        for i, x in enumerate(data):
            outer(x)
    """,
    "a method that trains": """
        class Trainer:
            def step(self, x):
                self.optimizer.minimize(x)
            def run(self, data):
                for x in data:
                    self.step(x)
    """,
}
LOOKING = {
    "plot": """
        for images, labels in data.take(1):
            plot(images[8])
    """,
    "validation beside training": """
        def step(x):
            with tf.GradientTape():
                pass
        for x in validation:
            metric.update_state(model(x))
    """,
    "comprehension": "labels = [y for x, y in data]",
}


@pytest.mark.parametrize("name", TRAINING)
def test_finds_the_loop_that_trains(name):
    source = textwrap.dedent(TRAINING[name])
    numbered = source.splitlines()
    expected = {i for i, line in enumerate(numbered, 1) if "for " in line}
    assert lines_of(source) == expected


@pytest.mark.parametrize("name", LOOKING)
def test_leaves_other_loops_alone(name):
    assert lines_of(textwrap.dedent(LOOKING[name])) == frozenset()


def test_a_header_of_several_lines_counts_whole():
    source = "for x in (\n    data\n    .batch(2)\n):\n    tape = GradientTape()\n"
    assert lines_of(source) >= {1, 2, 3}


def test_what_cannot_be_read_has_no_loops(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("for x in (:\n")
    assert lines(str(broken)) == lines(str(tmp_path / "missing.py")) == frozenset()
