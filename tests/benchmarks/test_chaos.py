"""What a disturbed job has cost, from what it noted."""

import numpy as np

from benchmarks import chaos
from benchmarks.chaos import Batch, Event

BATCHES = [Batch(1.0, 1), Batch(1.1, 2), Batch(1.2, 3), Batch(9.0, 2), Batch(9.1, 3)]


def test_the_last_line_of_a_killed_script_may_be_cut_short():
    assert chaos.read("1.5 1\n2.5 2") == [Batch(1.5, 1)]


def test_batches_that_are_trained_again_are_counted():
    assert chaos.trained_again(BATCHES) == 2


def test_a_recovery_lasts_until_the_next_run_trains():
    # Batches that a rank has noted after the event are of the run before.
    assert chaos.recoveries_s([Event(1.15, "kill")], BATCHES) == [7.85]
    assert chaos.recoveries_s([Event(9.05, "kill")], BATCHES) == []


def test_the_same_bits_are_the_same(tmp_path):
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    np.savez(one, np.float32(1.0))
    np.savez(other, np.float32(1.0))
    assert chaos.same(one, other)
    np.savez(other, np.nextafter(np.float32(1.0), np.float32(2.0)))
    assert not chaos.same(one, other)


def test_a_spare_is_a_rank_when_it_is_taken(tmp_path):
    path = tmp_path / "3.socket"
    assert not chaos.is_rank(f"python -m hfdt.spare {path} 2")
    (tmp_path / "3.socket.taken").touch()
    assert chaos.is_rank(f"python -m hfdt.spare {path} 2 ")
    rank = f"python -m hfdt {chaos.SCRIPT} 3"
    assert chaos.is_rank(rank)
    assert not chaos.is_rank(f"python -m fdtcore.launcher.stand_in /tmp/x {rank}")
    assert not chaos.is_rank(f"mpirun -np 2 {rank}")
