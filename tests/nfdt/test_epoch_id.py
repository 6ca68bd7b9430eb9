"""The identity of an epoch, as a pair and as an integer."""

import pytest

from nfdt.protocol.epoch_id import EpochId

LAST = (1 << 32) - 1


@pytest.mark.parametrize(
    ("epoch", "packed"),
    [
        (EpochId(0, 0), 0),
        (EpochId(0, 2), 2),
        (EpochId(1, 4), (1 << 32) + 4),
        (EpochId(3, LAST), (4 << 32) - 1),
    ],
)
def test_an_epoch_is_packed_and_unpacked(epoch, packed):
    assert epoch.pack() == packed
    assert EpochId.unpack(packed) == epoch


def test_integers_grow_from_epoch_to_epoch():
    order = [EpochId(0, LAST), EpochId(1, 0), EpochId(1, 1), EpochId(2, 0)]
    assert sorted(one.pack() for one in order) == [one.pack() for one in order]


def test_none_is_no_epoch():
    with pytest.raises(ValueError, match=r"is >= 0\. Received: -1"):
        EpochId.unpack(-1)


def test_an_epoch_in_words():
    assert f"end of {EpochId(2, 7)}" == "end of epoch 7 of fit 2"
