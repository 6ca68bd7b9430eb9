"""Ranks that end with an error wait for each other; one that never comes is left."""

import threading

from fdtcore import shutdown


def test_each_waits_until_all_have_said_why(tmp_path):
    ended = []

    def end(rank):
        shutdown.wait_for_others(tmp_path, rank, range(3), limit_s=60.0)
        ended.append(rank)

    ranks = [threading.Thread(target=end, args=(rank,)) for rank in range(3)]
    for rank in ranks[:2]:
        rank.start()
    ranks[0].join(0.2)
    assert ended == []
    ranks[2].start()
    for rank in ranks:
        rank.join(30.0)
    assert sorted(ended) == [0, 1, 2]


def test_a_rank_that_never_comes_and_an_earlier_job_hold_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("PMIX_NAMESPACE", "an earlier job")
    shutdown.note(tmp_path, 0)
    monkeypatch.setenv("PMIX_NAMESPACE", "this job")
    assert shutdown._noted(tmp_path) == set()
    shutdown.wait_for_others(tmp_path, 1, range(2), limit_s=0.1)
    assert shutdown._noted(tmp_path) == {1}


def test_without_a_folder_or_with_one_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutdown, "_SPEAK_S", 0.0)
    shutdown.wait_for_others(None, 1, range(2), limit_s=60.0)
    (tmp_path / "file").touch()
    shutdown.wait_for_others(tmp_path / "file", 0, range(2), limit_s=0.1)
