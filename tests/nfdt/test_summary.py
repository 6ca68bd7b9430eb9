"""Three lines of a run, against NumPy over all pushes at once."""

import math

import numpy as np
import pytest

from fdtcore.telemetry.words import grouped
from nfdt.protocol.events import Use
from nfdt.telemetry.summary import Summary
from tests.nfdt.synthetic_run import bulk_synchronous, event, run


def summary(events):
    made = Summary()
    made.add(events)
    return made


def test_staleness_is_that_of_numpy():
    events = run(list(np.linspace(0.05, 0.3, 9)), 2003)  # no share falls between two
    values = [one.staleness for one in events]
    made = summary(events)
    assert made.mean_staleness == pytest.approx(np.mean(values))
    for share in (0.01, 0.5, 0.95, 0.999, 1.0):
        wanted = np.percentile(values, 100 * share, method="inverted_cdf")
        assert made.staleness_below(share) == wanted
    assert len(set(values)) > 5


def test_waited_share_is_that_of_whole_cycles():
    events = run([0.1, 0.2], 500)
    made = summary(events)
    for worker in (0, 1):
        mine = [one for one in events if one.worker == worker][1:]
        exchange_s = sum(one.exchange_s for one in mine)
        total_s = exchange_s + sum(one.compute_s for one in mine)
        assert made.waited(worker) == pytest.approx(exchange_s / total_s)


def test_the_start_before_the_first_push_counts_for_nothing():
    events = [event(compute_s=100.0), event(version=2, compute_s=3.0, exchange_s=1.0)]
    assert summary(events).waited(0) == 0.25


def test_groups_that_alternate_share_the_time():
    # Each group: 8 s of computing, 1 s of exchange; so a step takes 10 s in all.
    events = [
        event(group=group, version=step, compute_s=9.0, exchange_s=1.0)
        for step in range(1, 6)
        for group in (0, 1)
    ]
    made = summary(events)
    assert made.waited(0) == pytest.approx(0.2)
    assert (made.pushes_of(0), made.pushes_of(1)) == (10, 0)
    assert made.waited(1) is None


def test_groups_of_fits_one_after_the_other_add_up():
    events = [
        event(
            group=group,
            time_s=100.0 * group + 4 * step,
            version=step,
            compute_s=3.0,
            exchange_s=1.0,
        )
        for group in range(5)
        for step in range(1, 6)
    ]
    assert summary(events).waited(0) == pytest.approx(0.25)


def test_speed_is_from_the_first_update_to_the_last():
    events = [event(time_s=50.0 + 2 * i, version=i + 1) for i in range(11)]
    made = summary(events)
    assert (made.updates, made.duration_s, made.updates_per_s) == (11, 20.0, 0.5)


def test_several_pushes_of_one_update_are_one():
    made = summary(bulk_synchronous([0.1, 0.3], 10))
    assert (made.updates, made.pushes) == (10, 20)


def test_groups_have_versions_of_their_own():
    made = summary([event(group=g, version=v) for g in (0, 1) for v in (4, 5, 6)])
    assert made.updates == 6


def test_order_and_portions_make_no_difference():
    events = run([0.1, 0.2, 0.3], 300)
    portions = Summary()
    for one in reversed(events):
        portions.add([one])
    whole = summary(events)
    assert portions.lines()[:2] == whole.lines()[:2]
    assert (portions.updates, portions.pushes) == (whole.updates, whole.pushes)


def test_json_hands_everything_on():
    made = summary(run([0.1, 0.2, 0.3], 300))
    again = Summary.from_json(made.to_json())
    assert vars(again) == vars(made)
    more = run([0.1, 0.2, 0.3], 100, seed=1)
    made.add(more)
    again.add(more)
    assert again.lines() == made.lines()


def test_json_of_nothing():
    assert vars(Summary.from_json(Summary().to_json())) == vars(Summary())


def test_lines_of_two_workers():
    events = [event(time_s=0.0), event(worker=1, version=2, staleness=1, time_s=0.0)]
    for step in range(1, 1001):
        for worker in (0, 1):
            events.append(
                event(
                    time_s=0.01 * step,
                    worker=worker,
                    version=2 * step + worker + 1,
                    staleness=1,
                    compute_s=0.0096 - 0.0002 * worker,
                    exchange_s=0.0004 + 0.0002 * worker,
                )
            )
    assert summary(events).lines() == [
        "updates    2 002 in 10.0 s: 200.1 updates/s",
        "staleness  mean 1.0, 95 % 1, max 1; lead max 0",
        "waiting    worker 0  4 %, worker 1  6 %",
    ]


def test_parts_of_vectors_are_compared_with_whole_ones():
    made = summary(run([0.1, 0.2, 0.3], 300))
    for _ in range(3):
        made.pushed = made.pushed.more(80, 4000)
        made.answered = made.answered.more(100, 4000)
    text = "wire       gradients 1/50, parameters 1/40 of the bytes of whole ones"
    assert made.lines()[-1] == text
    assert Summary.from_json(made.to_json()).lines()[-1] == text


def test_many_workers_stay_on_one_line():
    waited = [0.01 * (7 * worker % 100) for worker in range(100)]
    events = [
        event(worker=worker, version=1 + step, compute_s=1 - w, exchange_s=w)
        for step in (0, 1)
        for worker, w in enumerate(waited)
    ]
    line = summary(events).lines()[2]
    assert line == (
        "waiting    100 workers: median 50 %, "
        "least 0 % (worker 0), most 99 % (worker 57)"
    )
    assert len(line) <= 88


@pytest.mark.parametrize("events", [[], [event()]])
def test_lines_of_next_to_nothing(events):
    lines = summary(events).lines()
    assert lines[0] == f"updates    {len(events)} in 0.0 s"
    assert lines[2] == "waiting    not known: no worker has pushed twice"


def test_memory_does_not_grow_with_pushes():
    made = Summary()
    made.add(event(version=v, staleness=v % 3, time_s=float(v)) for v in range(10_000))
    assert len(made.to_json()) < 300
    assert not math.isnan(made.mean_staleness)


def test_thousands_are_set_apart():
    assert [grouped(n) for n in (0, 999, 4690, 1234567)] == [
        "0",
        "999",
        "4 690",
        "1 234 567",
    ]


def test_steps_of_workers_own_make_no_update_and_are_told_of():
    own, dropped = int(Use.OWN), int(Use.DROPPED)
    made = summary(
        [
            event(use=own, version=0, lead=4, compute_s=1.0),
            event(use=own, version=0, lead=2, compute_s=1.0, exchange_s=1.0),
            event(version=1, lead=9, exchange_s=1.0, compute_s=1.0),
            event(worker=1, version=2, use=dropped, staleness=7),
        ]
    )
    assert (made.updates, made.pushes, made.dropped, made.own_steps) == (1, 1, 1, 2)
    assert (made.steps_of(0), made.pushes_of(0), made.pushes_of(1)) == (2, 1, 1)
    assert made.max_lead == 4  # a push is of several steps: its lead is in pushes
    assert made.staleness == {0: 1}
    assert made.waited(0) == 0.5
    assert Summary.from_json(made.to_json()).lines() == made.lines()
    assert "2 local steps of the workers; 1 late gradients dropped" in made.lines()[0]
