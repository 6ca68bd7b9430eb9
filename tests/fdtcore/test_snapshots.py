"""The files of snapshots: which one counts, and those that are broken."""

import json
import os
import signal
import struct
import sys

import numpy as np
import pytest

from fdtcore.snapshots import folder, tensor_file
from fdtcore.snapshots.cadence import Cadence, Schedule
from fdtcore.snapshots.folder import SnapshotFolder
from fdtcore.snapshots.stop_requests import StopRequests
from fdtcore.snapshots.tensor_file import Content
from fdtcore.snapshots.writer import Writer
from tests.processes import run


def content(value=1.0, **about):
    return Content({"w": np.full(3, value)}, {"format": folder.FORMAT, **about})


def store_with(path, *files):
    """Makes a folder with a file for each "fit 1" or "step 2"."""
    store = SnapshotFolder(path)
    for i, word in enumerate(files):
        kind, fit = word.split()
        keep = store.keep_fit if kind == "fit" else store.keep_step
        keep(int(fit), content(float(i)))
    return store


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.float64(3.5) * np.ones(()),
        np.zeros((0, 4), np.int64),
        np.array([True, False]),
        np.arange(6.0).reshape(2, 3).T,
        np.array([1, 2], np.uint32),
    ],
)
def test_arrays_come_back_as_they_were(array, tmp_path):
    tensor_file.write(tmp_path / "a", Content({"x": array}, {"n": [1, "é", None]}))
    found = tensor_file.read(tmp_path / "a")
    assert found.about == {"n": [1, "é", None]}
    assert found.arrays["x"].dtype == array.dtype
    np.testing.assert_array_equal(found.arrays["x"], array, strict=True)
    assert os.listdir(tmp_path) == ["a"]


def test_the_types_of_machine_learning_come_back(tmp_path):
    import ml_dtypes

    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        array = np.array([1, -2], getattr(ml_dtypes, name))
        tensor_file.write(tmp_path / "a", Content({"x": array}, {}))
        found = tensor_file.read(tmp_path / "a").arrays["x"]
        assert found.dtype == array.dtype
        assert found.tobytes() == array.tobytes()


def flipped(place):
    def break_it(data):
        data = bytearray(data)
        data[place] ^= 4
        return bytes(data)

    return break_it


def newer(data):
    (length,) = struct.unpack("<Q", data[:8])
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["about"])
    return tensor_file.dump(Content({}, {**about, "format": folder.FORMAT + 1}))


BROKEN = {
    "empty": lambda data: b"",
    "cut short in its length": lambda data: data[:5],
    "cut short in its header": lambda data: data[:40],
    "cut short in its arrays": lambda data: data[:-1],
    "a length without end": lambda data: b"\xff" * 8 + data[8:],
    "no JSON": lambda data: data[:8] + b"?" * 64 + data[72:],
    "a bit of an array": flipped(-3),
    "a bit of the header": flipped(40),
    "another kind of file": lambda data: b"PK\x03\x04" + data,
    "JSON that is no table": lambda data: struct.pack("<Q", 2) + b"[]",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_snapshot_is_passed_over_with_one_line(how, tmp_path):
    store = store_with(tmp_path, "step 1", "step 1")
    path = tmp_path / "step-0001-00000002.safetensors"
    path.write_bytes(BROKEN[how](path.read_bytes()))
    said = []
    found = store.find(said.append)
    assert found.step.arrays["w"][0] == 0.0  # the older one
    [line] = said
    assert str(path) in line
    assert "\n" not in line


def test_a_newer_format_is_refused(tmp_path):
    store = store_with(tmp_path, "step 1")
    path = tmp_path / "step-0001-00000001.safetensors"
    path.write_bytes(newer(path.read_bytes()))
    with pytest.raises(ValueError, match=r"format 2 in .*Use the version"):
        store.find(print)


@pytest.mark.parametrize(
    ("files", "fits", "step"),
    [
        ((), 0, None),
        (("step 1",), 0, 0.0),
        (("step 1", "step 1", "step 1"), 0, 2.0),
        (("step 1", "fit 1"), 1, None),
        (("fit 1", "step 2"), 1, 1.0),
        (("fit 1", "fit 3", "step 4"), 1, None),  # of the second nothing is there
        (("fit 1", "fit 2", "step 2"), 2, None),  # older than the fit's end
    ],
)
def test_the_newest_snapshot_is_taken(files, fits, step, tmp_path):
    found = store_with(tmp_path, *files).find(print)
    assert len(found.fits) == fits
    assert (found.step and found.step.arrays["w"][0]) == step
    assert (found.place is None) == (not files)


def test_the_last_two_of_a_fit_are_kept_until_it_is_over(tmp_path):
    store = store_with(tmp_path, "step 1", "step 1", "step 1")
    names = sorted(p.name for p in tmp_path.glob("step*"))
    assert names == [f"step-0001-0000000{i}.safetensors" for i in (2, 3)]
    store.keep_fit(1, content())
    assert not [*tmp_path.glob("step*")]


def test_two_jobs_do_not_share_a_folder(tmp_path):
    program = (
        "import sys; from fdtcore.snapshots.folder import SnapshotFolder\n"
        "try: SnapshotFolder(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    store = SnapshotFolder(tmp_path)
    said = run(sys.executable, "-c", program, tmp_path).stdout
    assert f"which process {os.getpid()} on" in said
    store.close()
    assert run(sys.executable, "-c", program, tmp_path).stdout == ""


@pytest.mark.parametrize("place", ["/proc/1/snapshots", "/dev/null"])
def test_a_folder_that_cannot_be_written_to_is_refused(place):
    with pytest.raises(ValueError, match=r"must be writable. Received: .*Name another"):
        SnapshotFolder(place)


def test_what_cannot_be_written_is_said_once_and_training_goes_on(tmp_path):
    store = SnapshotFolder(tmp_path / "s")
    said = []
    writer = Writer(said.append)
    (tmp_path / "s" / "lock").unlink()
    (tmp_path / "s").rmdir()  # vanishes in mid-run
    for _ in range(2):
        writer.begin(lambda: store.keep_step(1, content()), "a snapshot")
        writer.wait()
    assert len(said) == 1
    assert "could not be written (No such file or directory); training goes" in said[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", Cadence(every_s=30)),
        ("2min", Cadence(every_s=120)),
        ("200steps", Cadence(every_steps=200)),
        ("1 steps", Cadence(every_steps=1)),
    ],
)
def test_a_cadence_is_a_time_or_steps(text, expected):
    assert Cadence.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0s", "-1s", "0steps", "1.5steps", "steps", "10 batches"]
)
def test_any_other_cadence_is_refused(text):
    with pytest.raises(ValueError):
        Cadence.parse(text)


def test_a_snapshot_is_due_by_steps_or_by_time():
    schedule = Schedule(Cadence(every_steps=10), 0.0)
    assert not schedule.is_due(9, 99.0)
    assert schedule.is_due(1, 99.0)
    schedule.taken(99.0)
    assert not schedule.is_due(9, 999.0)
    schedule = Schedule(Cadence(every_s=10), 0.0)
    assert not schedule.is_due(1000, 9.9)
    assert schedule.is_due(1, 10.0)


def test_ranks_meet_about_twice_a_second_and_never_beyond_a_snapshot():
    schedule = Schedule(Cadence(every_s=30), 0.0)
    found = [schedule.next_meeting(1, 0.01)]  # a step of 10 ms
    for _ in range(5):
        found.append(schedule.next_meeting(found[-1], 0.01 + 0.01 * sum(found)))
    assert found[:2] == [4, 16]
    assert all(49 <= steps <= 51 for steps in found[2:])
    assert schedule.next_meeting(50, 1000.0) == 1  # steps have become slow
    schedule = Schedule(Cadence(every_steps=3), 0.0)
    schedule.is_due(1, 0.0)
    assert schedule.next_meeting(1, 0.0) == 2


def test_signals_are_noted_while_steps_are_taken_and_end_the_process_else():
    ended = []
    before = [
        signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    ]
    requests = StopRequests(lambda: ended.append(1))
    requests.listen()
    try:
        requests.is_stepping = True
        os.kill(os.getpid(), signal.SIGUSR1)
        assert requests.received == signal.SIGUSR1
        assert not ended
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)  # the second one
        requests.is_stepping = False
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended
    finally:
        for number, handler in zip(
            (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT), before, strict=True
        ):
            signal.signal(number, handler)
