"""The losses of a job that is killed, beside those of one that is not."""

import pytest

pytest.importorskip("matplotlib")

from benchmarks import interruption
from benchmarks.interruption import Loss

ALONE = [Loss(float(i), i, 1 / i) for i in range(1, 5)]


def test_the_last_line_of_a_killed_script_may_be_cut_short():
    assert interruption.read("11.5 1 0.25\n12 2 0.", start=10.0) == [Loss(1.5, 1, 0.25)]


def test_batches_that_are_trained_again_are_counted():
    killed = [*ALONE[:3], *(one._replace(seconds=9.0) for one in ALONE[1:])]
    assert interruption.repeated(ALONE) == 0
    assert interruption.repeated(killed) == 2
    assert interruption.differing(ALONE, killed) == 0
    killed[4] = killed[4]._replace(loss=0.0)
    assert interruption.differing(ALONE, killed) == 1


def test_both_jobs_are_drawn(tmp_path):
    interruption.draw(ALONE, [*ALONE, *ALONE[2:]], 4, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
