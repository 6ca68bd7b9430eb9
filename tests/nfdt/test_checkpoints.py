"""Checkpoints as a user meets them: what is kept, found again, and refused."""

from __future__ import annotations

import collections
import json
import re

import numpy as np
import pytest

from nfdt.cluster import checkpoint_store
from nfdt.options import Options
from nfdt.protocol import checkpoints, serialization
from nfdt.protocol.checkpoints import CheckpointState, Mismatch, check_batches
from nfdt.protocol.controllers import BulkSynchronous
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.topology import Roles
from tests.nfdt import real_runs
from tests.nfdt.real_runs import BATCHES, every_batch_once, run
from tests.nfdt.services import opening, service

ABOUT = {"format": checkpoints.FORMAT, "server": 0, "servers": 1, "workers": 2}


def trained(earlier=None, **changes):
    """Returns a service that has made some updates, and its keepsakes."""
    kept = CheckpointState(ABOUT, earlier)
    made = service(opened=kept.resume_group)
    kept.begin(made)
    made.handle(opening(0, **changes), 0.0)
    return made, kept


def note(name, value):
    kept = serialization.pack_list([serialization.dump(value)])
    payload = serialization.pack({"names": [name]}) + kept
    return Message(Kind.NOTE, 0, payload=payload)


def through_a_file(value):
    return serialization.load(serialization.dump(value))


def step(made, number, worker=0):
    made.handle(Message(Kind.LEASE, worker, parts=4, epoch=7), 0.0)
    gradient = np.full(5, 0.5 + number, np.float32)
    message = Message(Kind.PUSH, worker, number=number, epoch=7, payload=gradient)
    made.handle(message, 0.0)


def test_another_service_goes_on_as_if_nothing_had_been():
    whole, kept = trained()
    step(whole, 0), step(whole, 1)
    found = through_a_file(kept.kept(whole))
    other, _ = trained(found)
    assert other.groups[0].version == 2
    assert other.leases[7].done == {0, 1}
    for made in (whole, other):
        step(made, 2)
    np.testing.assert_array_equal(other.groups[0].params, whole.groups[0].params)
    assert other.leases[7].done == {0, 1, 2}


def test_batches_in_hand_are_not_done_and_are_leased_again():
    whole, kept = trained()
    step(whole, 0)
    whole.handle(Message(Kind.LEASE, 1, parts=4, epoch=7), 0.0)
    other, _ = trained(through_a_file(kept.kept(whole)))
    granted = [
        other.handle(Message(Kind.LEASE, w, parts=4, epoch=7), 0.0)[0].number
        for w in (0, 1)
    ]
    assert granted == [1, 2]


def test_a_gradient_that_is_held_back_is_not_done():
    kept = CheckpointState(ABOUT, None)
    whole = service(controller=BulkSynchronous(), opened=kept.resume_group)
    whole.handle(opening(0), 0.0)
    step(whole, 0)  # the other worker is awaited
    assert whole.leases[7].done == {0}
    other, _ = trained(through_a_file(kept.kept(whole)))
    assert other.leases[7].done == frozenset()


def test_what_is_noted_is_recalled_also_after_two_interruptions():
    earlier = None
    for _ in range(2):
        whole, kept = trained(earlier)
        if earlier is None:
            kept.handle(note("one", [3]))
        earlier = through_a_file(kept.kept(whole))
    (answer,) = CheckpointState(ABOUT, earlier).handle(Message(Kind.RECALL, 1))
    notes = serialization.load(bytes(answer.payload))["notes"]
    assert serialization.load(notes["one"].tobytes()) == [3]


def test_a_group_that_was_not_opened_again_is_not_lost():
    whole, kept = trained()
    step(whole, 0)
    first = through_a_file(kept.kept(whole))
    idle = CheckpointState(ABOUT, first)
    second = through_a_file(idle.kept(service()))
    other, _ = trained(second)
    assert other.groups[0].version == 1


def test_another_model_is_refused_by_its_first_difference():
    whole, kept = trained()
    found = through_a_file(kept.kept(whole))
    with pytest.raises(Mismatch, match=r"dc-asgd-a.*checkpoint has algorithm asgd"):
        trained(found, algorithm="dc-asgd-a")


def test_other_batches_are_refused():
    whole, _ = trained()
    step(whole, 0)
    with pytest.raises(Mismatch, match=r"5 batches on worker 1, where 4 are known"):
        check_batches(whole, Message(Kind.LEASE, 1, parts=5, epoch=7))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers": 3}, "Use -np 3"),
        ({"servers": 2}, "Use --servers 2"),
        ({"format": 99}, "Begin anew"),
    ],
)
def test_what_another_kind_of_job_has_kept_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        checkpoints.check({**ABOUT, **changes}, 0, 1, 2)


def keep(folder, *times_s, server=0, servers=1):
    keeper = checkpoint_store.CheckpointWriter(
        str(folder), server, servers, every_s=1.0
    )
    assert not keeper.is_due(0.0, is_open=True)
    for time_s in times_s:
        assert keeper.is_due(time_s, is_open=True)
        keeper.keep({"time_s": time_s}, keeper.number(time_s))
        keeper.wait()
    assert keeper.problem == ""


def test_files_are_whole_and_old_ones_go(tmp_path):
    keep(tmp_path, 1.2, 2.1, 3.0, 5.9)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{number}.server-0-of-1.nfdt" for number in (2, 3, 5)]
    assert checkpoint_store.newest(tmp_path, 1) == 5
    assert checkpoint_store.read(tmp_path, 5, 0, 1) == {"time_s": 5.9}


def test_another_run_numbers_on(tmp_path):
    keep(tmp_path, 4.0)
    keep(tmp_path, 1.0)
    assert checkpoint_store.newest(tmp_path, 1) == 5


def test_the_newest_is_the_newest_that_all_servers_have(tmp_path):
    keep(tmp_path, 1.0, 2.0, 3.0, server=0, servers=2)
    keep(tmp_path / "other", 1.1, 2.1, server=1, servers=2)
    for path in (tmp_path / "other").iterdir():
        path.rename(tmp_path / path.name)
    assert checkpoint_store.newest(tmp_path, 2) == 2
    with pytest.raises(ValueError, match=r"Use --servers 2"):
        checkpoint_store.newest(tmp_path, 1)


def test_an_empty_folder_and_a_broken_file_are_refused(tmp_path):
    roles = Roles(2, 1)
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert checkpoint_store.newest(folder, 1) == 0
        with pytest.raises(ValueError, match="which has no complete one"):
            options = Options(resume=str(folder))
            checkpoint_store.found_earlier(options, roles, 0)
    (tmp_path / "4.server-0-of-1.nfdt").write_bytes(b"PK cut short")
    with pytest.raises(ValueError, match="a checkpoint must be complete"):
        checkpoint_store.read(tmp_path, 4, 0, 1)


def test_auto_goes_on_from_what_there_is(tmp_path):
    options, roles = Options(checkpoint=str(tmp_path), resume="auto"), Roles(3, 1)
    assert checkpoint_store.found_earlier(options, roles, 0) is None
    keeper = checkpoint_store.CheckpointWriter(str(tmp_path), 0, 1, 1.0)
    kept = {**ABOUT, "pushed": {}, "notes": {}}
    keeper.keep(kept, 1)
    keeper.wait()
    assert checkpoint_store.found_earlier(options, roles, 0) == (kept, set())
    with pytest.raises(ValueError, match=r"Use --servers 1"):
        checkpoint_store.found_earlier(options, Roles(4, 2), 0)


def test_a_run_that_gets_nowhere_keeps_nothing(tmp_path):
    options, roles = Options(checkpoint=str(tmp_path), resume="auto"), Roles(3, 1)

    def life(number, steps):
        store = checkpoint_store.CheckpointStore(options, roles, 0)
        made = service(opened=store.state.resume_group)
        store.begin(made)
        store.state.handle(note(checkpoints.SEED, 3))
        made.handle(opening(0), 0.0)
        for step_ in steps:
            step(made, step_)
        assert store.close(made, number) == ""
        return checkpoint_store.newest(tmp_path, 1)

    assert life(1, []) == 0
    assert life(2, [0]) == 2
    assert life(3, []) == 2
    assert life(4, [1]) == 4


def test_the_first_is_due_a_time_after_something_was_opened(tmp_path):
    keeper = checkpoint_store.CheckpointWriter(str(tmp_path), 0, 1, every_s=10.0)
    assert not keeper.is_due(100.0, is_open=False)
    assert not keeper.is_due(200.0, is_open=True)
    assert not keeper.is_due(209.0, is_open=True)
    assert keeper.is_due(211.0, is_open=True)
    keeper.keep({}, keeper.number(211.0))
    keeper.wait()
    assert not keeper.is_due(219.0, is_open=True)
    assert keeper.is_due(220.0, is_open=True)
    keeper.keep({}, keeper.number(221.0) + 1)
    keeper.wait()
    assert checkpoint_store.newest(tmp_path, 1) == 3


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize("servers", [1, 2])
def test_a_run_whose_workers_are_lost_goes_on(tmp_path, servers):
    words = ("--servers", servers, "--algorithm", "dc-asgd-a")
    keeping_ = (*words, "--checkpoint", "ck", "--checkpoint-every", "1s")
    first = run(tmp_path, "kill0@30,kill1@30", *keeping_)
    assert first.code == 1
    before = real_runs.visits(tmp_path)
    (tmp_path / "logs").rename(tmp_path / "logs-1")
    once = samples_of(first, tmp_path / "logs-1")
    second = run(tmp_path, "slow", *words, "--resume", "ck")
    assert second.code == 0, second.text
    after = real_runs.visits(tmp_path)
    both = {
        epoch: before.get(epoch, collections.Counter())
        + after.get(epoch, collections.Counter())
        for epoch in before | after
    }
    assert {epoch: both[epoch].keys() for epoch in both} == {
        epoch: batches.keys() for epoch, batches in every_batch_once().items()
    }
    assert 0 not in after  # finished, and not begun again
    [losses] = re.findall(r"^losses \[(.*)\]", second.text, re.MULTILINE)
    assert len(losses.split(",")) == real_runs.EPOCHS
    twice = samples_of(second, tmp_path / "logs")
    for epoch in both:
        # A worker that was killed behind a push has not told of its samples.
        seen = once[epoch] + twice[epoch]
        assert max(both[epoch].values()) == max(seen.values()) == 1
        assert len(seen) >= BATCHES * 4 - 2 * 4


def samples_of(job, logs):
    counts = collections.defaultdict(collections.Counter)
    texts = [job.text, *(path.read_text() for path in logs.glob("rank-*.log"))]
    for line in re.findall(r'^\{"epoch".*\}$', "\n".join(texts), re.MULTILINE):
        found = json.loads(line)
        counts[found["epoch"]].update(found["samples"])
    return counts


def test_several_servers_make_up_for_what_some_of_them_lack():
    """Their files are moments apart: each has a push that the other has not."""
    makes = [dict(ABOUT, servers=2, server=server) for server in (0, 1)]

    def begun(earlier=(None, None), lacking=()):
        found = []
        for about, kept in zip(makes, earlier, strict=True):
            state = CheckpointState(about, kept, lacking)
            made = service(opened=state.resume_group)
            state.begin(made)
            made.handle(opening(0), 0.0)
            found.append((made, state))
        return found

    def push(made, number):
        gradient = np.full(5, 0.5 + number, np.float32)
        message = Message(Kind.PUSH, 0, number=number, epoch=7, payload=gradient)
        return made.handle(message, 0.0)[0]

    (first, one), (second, two) = begun()
    for _ in range(3):
        first.handle(Message(Kind.LEASE, 0, parts=4, epoch=7), 0.0)
    push(first, 0), push(first, 1), push(second, 0), push(second, 2)
    kept = [through_a_file(one.kept(first)), through_a_file(two.kept(second))]
    lacking = checkpoints.partial(kept)
    assert lacking == {(7, 0, 1), (7, 0, 2)}
    (first, _), (second, _) = begun(kept, lacking)
    assert first.leases[7].done == {0}
    versions = [(first.groups[0].version, second.groups[0].version)]
    for number in (1, 2, 3):
        first.handle(Message(Kind.LEASE, 0, parts=4, epoch=7), 0.0)
        assert push(first, number).kind is push(second, number).kind is Kind.PARAMS
        versions.append((first.groups[0].version, second.groups[0].version))
    assert versions == [(2, 2), (2, 3), (3, 3), (4, 4)]
    assert first.leases[7].is_over
    over = {**kept[0], "notes": {"epoch 7 of fit 0": np.zeros(1)}}
    assert checkpoints.of_running(kept[0], lacking) == lacking
    assert checkpoints.of_running(over, lacking) == set()


def test_a_checkpoint_of_the_end_of_an_epoch_may_be_passed_over(tmp_path):
    def keep_both(number, pushes, notes):
        for server, found in enumerate(pushes):
            keeper = checkpoint_store.CheckpointWriter(str(tmp_path), server, 2, 1.0)
            about = dict(ABOUT, servers=2, server=server, number=number, notes=notes)
            pairs = np.array([(0, batch) for batch in found], np.int64).reshape(-1, 2)
            keeper.keep({**about, "pushed": {7: pairs}}, number)
            keeper.wait()

    options, roles = Options(resume=str(tmp_path), algorithm="asgd"), Roles(4, 2)
    keep_both(1, ([0], []), {})
    keep_both(2, ([0, 1], [0]), {"epoch 7 of fit 0": 1})
    found, lacking = checkpoint_store.found_earlier(options, roles, 1)
    assert (found["number"], lacking) == (1, {(7, 0, 0)})
    keep_both(3, ([0, 1], [0, 1]), {"epoch 7 of fit 0": 1})
    found, lacking = checkpoint_store.found_earlier(options, roles, 1)
    assert (found["number"], lacking) == (3, set())
