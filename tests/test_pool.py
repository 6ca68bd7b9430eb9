"""No more jobs run at a time than there are slots, whoever has submitted them."""

import threading

import pytest

from tests.pool import Pool


class Job:
    """A job of which it is known that it runs, and which ends when it is told to."""

    def __init__(self):
        self.runs, self.ends = threading.Event(), threading.Event()

    def __call__(self):
        self.runs.set()
        assert self.ends.wait(20)
        return "done"


@pytest.fixture
def pools(tmp_path):
    """Two that share one slot, as those of two processes do."""
    with Pool(tmp_path / "slots", 1) as one, Pool(tmp_path / "slots", 1) as other:
        yield one, other


def test_a_job_waits_for_that_of_another(pools, monkeypatch):
    looks = threading.Semaphore(0)
    monkeypatch.setattr("tests.pool.time.sleep", lambda _: looks.release())
    first, second = Job(), Job()
    found = [pools[0].submit(first)]
    assert first.runs.wait(20)
    found.append(pools[1].submit(second))
    assert looks.acquire(timeout=20)  # it has looked, and waits
    assert not second.runs.is_set()
    first.ends.set()
    assert second.runs.wait(20)
    second.ends.set()
    assert [one.result(20) for one in found] == ["done", "done"]


def test_a_job_that_fails_gives_its_slot_back(pools):
    with pytest.raises(ZeroDivisionError):
        pools[0].submit(lambda: 1 / 0).result(20)
    assert pools[1].submit(int, "7").result(20) == 7
