"""Steps over links: their jobs, what is forecast of them, the table and the picture."""

import pytest

from benchmarks import wire
from benchmarks.hosts.measurement import Found
from benchmarks.wire import CNN, LINKS, WAYS
from hfdt.options import Options


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_one_of_the_framework(way):
    words = wire.job(way).words(CNN, "/shared")
    options, _ = WAYS[way]
    assert tuple(words[words.index("node1:1,node2:1") + 1 :][: len(options)]) == options
    assert words[words.index("--phases") + 1] == str(len(LINKS))
    assert words[words.index("--batch") + 1] == "128"
    environ = {
        flag.removeprefix("--").replace("-", "_").upper(): value
        for flag, value in zip(options[::2], options[1::2])
    }
    Options.from_environ({f"HFDT_{name}": value for name, value in environ.items()})


def test_a_forecast_is_the_fastest_step_and_the_bytes():
    # 12.5 MB are a second over 100 Mbit/s, and 0.01 s over 10 Gbit/s.
    assert wire.forecast_s(0.5, 12.5e6, 100) == pytest.approx(0.5 + 1 - 0.01)
    assert wire.forecast_s(0.5, 12.5e6, LINKS[0]) == pytest.approx(0.5)


def made_up(round_):
    """A round in which compressed steps take the same time over all links."""
    dense = {rate: 1 / (0.1 + 30 / rate + 0.001 * round_) for rate in LINKS}
    sparse = dict.fromkeys(LINKS, 1 / (0.12 + 0.001 * round_))
    return {way: Found(20.0, sparse if WAYS[way][1] < 4 else dense) for way in WAYS}


def test_table_and_picture(tmp_path):
    found = wire.steps_of([made_up(round_) for round_ in range(3)])
    assert found["dgc"][100].median == pytest.approx(0.121)
    assert found["dgc"][100].low == pytest.approx(0.12)
    text = wire.step_table(found)
    (row,) = [line for line in text.splitlines() if "dgc" in line and " 100 " in line]
    assert "121" in row and "3.31" in row  # 0.401 / 0.121
    wire.draw(found, tmp_path / "wire.png", "2 cores")
    assert (tmp_path / "wire.png").stat().st_size > 10_000


def test_a_way_that_failed_in_a_round_is_left_out():
    rounds = [made_up(0), made_up(1)]
    del rounds[1]["topk"]
    assert set(wire.steps_of(rounds)) == set(WAYS) - {"topk"}
