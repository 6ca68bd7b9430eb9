"""What a simulation of many workers costs is measured on all of their pushes."""

from benchmarks import simulator


def test_more_pushes_take_longer():
    few, many = simulator.large(20, 200), simulator.large(20, 4000)
    assert many.seconds > few.seconds > 0
    assert many.peak_bytes >= few.peak_bytes > 1e6
