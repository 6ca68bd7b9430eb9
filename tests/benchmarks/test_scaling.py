"""Forecasts past one machine, against closed forms."""

import json

import pytest

from benchmarks import scaling

BYTES = {name: 4 * count for name, count in scaling.MODELS.items()}


@pytest.mark.parametrize("servers", [1, 4])
def test_the_link_of_the_servers_is_the_limit(servers):
    found = scaling.row("large", "1 Gbit/s", servers, 64)
    limit = servers * scaling.LINKS["1 Gbit/s"] / BYTES["large"]
    assert found.updates_per_s == pytest.approx(limit, rel=0.03)


def test_the_servers_updates_are_the_limit_on_a_fast_network():
    found = scaling.row("large", "100 Gbit/s", 2, 64)
    limit = 2 * scaling.UPDATED_BYTES_PER_S / BYTES["large"]
    assert found.updates_per_s == pytest.approx(limit, rel=0.03)


def test_few_workers_have_no_limit_but_their_own_round():
    found = scaling.row("small", "10 Gbit/s", 4, 2)
    size = BYTES["small"]
    exchange_s = 2 * (size / scaling.LINKS["10 Gbit/s"] + scaling.LATENCY_S)
    round_s = scaling.STEP_S + exchange_s + size / 4 / scaling.UPDATED_BYTES_PER_S
    assert found.updates_per_s == pytest.approx(2 / round_s, rel=0.04)
    assert found.staleness == pytest.approx(1, abs=0.3)


def test_everything_is_written_and_drawn(tmp_path):
    scaling.main(True, tmp_path, tmp_path / "scaling.json")
    rows = json.loads((tmp_path / "scaling.json").read_text())
    assert len(rows) == 2 * 3 * 2 * 3
    for model in scaling.MODELS:
        picture = tmp_path / f"scaling-{model}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
