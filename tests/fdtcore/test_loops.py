"""The share of a batch that a hand-written loop takes, without asking the others."""

from __future__ import annotations

import types

import pytest
import tensorflow as tf

from fdtcore.glue import binding, loops
from fdtcore.process import Process

SIZE = 2


def shares(monkeypatch, rank, num_samples):
    """Returns a rank's share of each batch of three."""
    monkeypatch.setattr(binding.context(), "loop_samples", None)
    process = Process(rank, SIZE, rank, SIZE, "host")
    silent = types.SimpleNamespace(process=process)  # it has no operations
    whole = [float(loops.share(silent))]
    for _ in loops.shard(tf.data.Dataset.range(num_samples).batch(3), process):
        whole.append(float(loops.share(silent)))
    return whole


@pytest.mark.parametrize(("rank", "part"), [(0, 2 / 3), (1, 1 / 3)])
def test_the_last_batch_is_shared_by_its_own_size(monkeypatch, rank, part):
    # Of one sample, all ranks take the whole batch.
    expected = [1 / SIZE, part, part, 1 / SIZE]
    assert shares(monkeypatch, rank, 7) == pytest.approx(expected)
