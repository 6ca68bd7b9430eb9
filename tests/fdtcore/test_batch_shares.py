"""Parts of a batch: disjoint, covering, even, and never none on rank 0."""

from __future__ import annotations

import pytest

from fdtcore.batch_shares import bounds


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("samples", [0, 1, 2, 5, 16, 33])
def test_parts_cover_a_batch_once_and_evenly(samples, size):
    parts = [range(*bounds(samples, rank, size)) for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(samples))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("size", range(1, 9))
def test_rank_0_has_a_sample_whenever_there_is_one(size):
    assert bounds(1, 0, size) == (0, 1)
