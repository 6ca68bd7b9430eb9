"""A vector cut and joined."""

import pytest

from nfdt.protocol.topology import Range, overlap, split


@pytest.mark.parametrize("size", [0, 1, 2, 7, 100, 101])
@pytest.mark.parametrize("num_servers", [1, 2, 3, 7])
def test_shards_cover_the_vector_evenly(size, num_servers):
    shards = split(size, num_servers)
    assert len(shards) == num_servers
    assert [n for shard in shards for n in range(*shard)] == list(range(size))
    sizes = [shard.size for shard in shards]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("start", "stop", "found"),
    [
        (0, 3, Range(5, 5)),
        (0, 7, Range(5, 7)),
        (6, 8, Range(6, 8)),
        (0, 99, Range(5, 10)),
        (8, 12, Range(8, 10)),
        (12, 15, Range(10, 10)),
        (7, 7, Range(7, 7)),
    ],
)
def test_what_a_range_has_in_common_with_a_shard(start, stop, found):
    assert overlap(Range(5, 10), start, stop) == found
