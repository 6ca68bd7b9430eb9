"""What became of the workers, and happenings in words."""

import pytest

from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.events import Use
from nfdt.telemetry import timeline, worker_outcomes
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.trace import Trace
from tests.nfdt.synthetic_run import event


def find(events, happenings=(), **facts):
    summary = Summary()
    summary.add(events)
    line = timeline.build(events)
    trace = Trace(facts, events, list(happenings))
    return worker_outcomes.find(trace, line.table, summary, line.origin_s)


def test_counts_of_one_worker():
    events = [
        event(number=0, staleness=1),
        event(number=1, staleness=4, version=2, compute_s=3.0, exchange_s=1.0),
        event(number=1, staleness=1, version=1, group=1, exchange_s=1.0, compute_s=3.0),
        event(number=0, epoch=1, version=3, exchange_s=2.0, compute_s=6.0),
    ]
    (fate,) = find(events)
    assert fate == worker_outcomes.WorkerOutcome(0, 4, 3, 0, 0.25, 0, 1.5, 4, "")


def test_batches_without_a_number_are_told_by_the_first_group():
    events = [event(version=v, group=g) for v in (1, 2, 3) for g in (0, 1)]
    assert find(events)[0].batches == 3


def test_a_push_of_steps_of_its_own_is_of_no_batch():
    own = {"use": int(Use.OWN), "version": 0}
    events = [
        event(number=0, lead=2, **own),
        event(number=1, lead=3, **own),
        event(number=-1, epoch=-1, lead=9),
    ]
    (fate,) = find(events)
    assert (fate.pushes, fate.batches, fate.max_lead) == (1, 2, 3)


def test_workers_without_a_push_are_there_too():
    lost = {"kind": "lost", "time_s": 5001.0, "worker": 3}
    found = find([event()], [lost], workers=2)
    assert [fate.worker for fate in found] == [0, 1, 3]
    assert found[1] == worker_outcomes.WorkerOutcome(
        1, 0, 0, 0, None, None, None, None, ""
    )
    assert found[2].end == "lost at 1.0 s"


def test_a_loss_counts_before_a_finish():
    finished = {"kind": "finished", "time_s": 2.0, "worker": 0}
    lost = {"kind": "lost", "time_s": 1.0, "worker": 0}
    for happenings in ([finished, lost], [lost, finished]):
        assert worker_outcomes.ends(happenings) == {0: lost}


@pytest.mark.parametrize(
    ("happening", "words"),
    [
        ({"kind": "lost", "worker": 3}, "worker 3 was lost"),
        ({"kind": "failed", "worker": 1, "text": "ValueError: x"},
         "worker 1 failed: ValueError: x"),
        ({"kind": "refused", "worker": 2, "text": "kernel"},
         "a gradient of worker 2 was refused: kernel"),
        ({"kind": "checkpoint", "version": 7}, "checkpoint: version 7"),
        ({"kind": "away", "worker": 1}, "away, worker 1"),
        ({"kind": "a {brace}"}, "a {brace}"),
    ],
)  # fmt: skip
def test_happenings_in_words(happening, words):
    assert worker_outcomes.in_words({**happening, "time_s": 1.0}) == words


@pytest.mark.parametrize(
    ("epoch", "name"),
    [
        (2, "epoch 3"),
        (EpochId(1, 4).pack(), "epoch 5"),
        (EpochId(2, 0).pack(), "fit 2, epoch 1"),
    ],
)
def test_epochs_are_counted_as_on_the_screen(epoch, name):
    assert worker_outcomes.epoch_name(epoch) == name
