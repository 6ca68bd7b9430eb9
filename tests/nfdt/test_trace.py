"""The trace: strict JSON, whole after a kill, refused when it cannot be."""

import json
import math

import numpy as np
import pytest

from fdtcore.telemetry import trace_file
from nfdt.telemetry import trace
from tests.nfdt.synthetic_run import event, run

FACTS = {"algorithm": "ddc-asgd", "workers": 2, "batch": 64}


def strict(text):
    """Reads JSON as a reader does that knows no NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def write(directory, events):
    writer = trace.TraceWriter(directory, FACTS)
    writer.add(events)
    return writer


def test_what_is_written_is_read(tmp_path):
    events = run([0.1, 0.2], 50)
    writer = write(tmp_path / "new" / "folder", events)
    writer.note(trace_file.LOST, 3.5, worker=1, text="killed by signal 9")
    writer.add([])
    writer.close()
    writer.close()
    found = trace.read(tmp_path / "new" / "folder")
    assert found.facts == FACTS
    assert found.events == events
    happening = {"time_s": 3.5, "worker": 1, "text": "killed by signal 9"}
    assert found.happenings == [{"kind": "lost", **happening}]
    assert trace.read(writer.path) == found


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path):
    write(tmp_path, [event(clock=7)])
    assert trace.read(tmp_path).events[0].clock == 7


def test_every_line_is_strict_json(tmp_path):
    wild = [event(loss=value) for value in (math.nan, math.inf, -math.inf)]
    writer = write(tmp_path, wild)
    writer.note(trace.REFUSED, 1.0, worker=np.int64(3), norm=np.float32(np.inf))
    lines = (tmp_path / trace.NAME).read_text().splitlines()
    assert [strict(line).get("loss", "none") for line in lines] == [
        "none",
        *3 * [None],
        "none",
    ]
    assert strict(lines[-1])["worker"] == 3
    assert all(math.isnan(one.loss) for one in trace.read(tmp_path).events)


def test_numbers_of_numpy_and_other_things_become_json():
    given = {"a": np.float32(0.5), "b": (np.int64(1), True, None), "c": {1: math}}
    assert json.loads(trace_file.strict_json(given)) == {
        "a": 0.5,
        "b": [1, True, None],
        "c": {"1": str(math)},
    }


def test_types_are_those_of_an_event(tmp_path):
    write(tmp_path, [event(compute_s=np.float64(1), loss=np.float32(2))])
    found = trace.read(tmp_path).events[0]
    assert [type(value) for value in found] == [type(value) for value in event()]


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_broken_last_line_is_skipped(tmp_path, cut):
    events = run([0.1], 5)
    path = write(tmp_path, events).path
    path.write_text(path.read_text()[:-cut])
    # Without its last character, the end of the line, the line is whole.
    assert trace.read(tmp_path).events == (events if cut == 1 else events[:-1])


@pytest.mark.parametrize(
    "line", ['{"kind":"push","time_s":1.0}', '{"kind":"lost"}', "[]", "3", "null"]
)
def test_a_last_line_that_lacks_something_is_skipped(tmp_path, line):
    path = write(tmp_path, [event()]).path
    whole = trace.read(tmp_path)
    path.write_text(f"{path.read_text()}{line}\n")
    assert len(trace.read(tmp_path).events) == len(whole.events) == 1
    assert trace.read(tmp_path).happenings == []


def test_a_broken_line_in_the_middle_is_refused(tmp_path):
    path = write(tmp_path, [event()]).path
    path.write_text("{oops\n" + path.read_text())
    with pytest.raises(ValueError, match=r"line 1 of .*\{oops.* Delete that line"):
        trace.read(tmp_path)


def test_a_folder_without_a_trace_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must hold trace.jsonl.*nfdt run --trace"):
        trace.read(tmp_path)


def test_an_unwritable_folder_is_refused_up_front(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            ValueError, match=rf"Received: {place} \(.*\)\. Name another"
        ):
            trace_file.check_directory(place)


def test_checking_a_folder_leaves_nothing_in_it(tmp_path):
    trace_file.check_directory(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_ends_the_trace_but_not_the_run(tmp_path):
    (tmp_path / trace.NAME).symlink_to("/dev/full")
    writer = write(tmp_path, [event()])
    writer.note(trace_file.FINISHED, 1.0, worker=1)
    writer.close()
    assert "No space left on device" in writer.problem


def test_a_trace_of_before_there_were_steps_of_ones_own_is_read(tmp_path):
    write(tmp_path, [event()])
    path = tmp_path / trace.NAME
    path.write_text(path.read_text().replace(',"use":0', ""))
    assert trace.read(tmp_path).events[0].use == 0
