"""Options: defaults, ranges, and the variables a launcher sets."""

from __future__ import annotations

import pytest

from hfdt.options import Options

REFUSED = {
    "batch": ("local", r"batch must be one of global, per_worker"),
    "compression": ("int8", r"none, fp16, bf16"),
    "op": ("max", r"mean, adasum"),
    "nonfinite": ("ignore", r"raise, skip, pass"),
    "lr_scale": (0, r"positive number or \"linear\""),
    "warmup_epochs": (-1, r"at least 0"),
    "stall_timeout": ("5min", r"seconds > 0.*write 30s, 5min or 1h, or inf"),
    "accumulate": (0, r"integer >= 1.*Use 1 for none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_out_of_range_is_refused_with_what_was_received(name):
    value, rule = REFUSED[name]
    with pytest.raises(ValueError, match=rule) as caught:
        Options(**{name: value})
    assert repr(value) in str(caught.value)


def test_adasum_and_a_wire_type_exclude_each_other():
    with pytest.raises(ValueError, match="Use one of the two"):
        Options(op="adasum", compression="fp16")


def test_resuming_by_itself_needs_the_folder_of_snapshots():
    with pytest.raises(ValueError, match="Name it as well: --snapshot DIR"):
        Options(resume="auto")
    assert Options(resume="auto", snapshot="s").snapshots == "s"
    assert Options(resume="s").snapshots == "s"  # which goes on taking them
    assert Options().snapshots == ""


def test_a_job_has_one_folder_of_snapshots():
    assert Options(resume="s", snapshot="s").snapshots == "s"
    with pytest.raises(ValueError, match="has one folder of snapshots"):
        Options(resume="r", snapshot="s")


def test_snapshots_are_not_taken_of_several_models_at_once():
    with pytest.raises(ValueError, match="one model on all ranks"):
        Options(snapshot="s", process_sets=((0,), (1,)))


def test_a_trace_is_not_taken_of_several_models_at_once():
    with pytest.raises(ValueError, match="a trace is of one model on all ranks"):
        Options(trace="t", process_sets=((0,), (1,)))


def test_snapshots_and_a_trace_change_nothing_that_is_computed():
    assert Options().is_plain
    assert Options(trace="t").is_plain
    assert Options(snapshot="s", resume="auto", snapshot_every="5steps").is_plain
    assert not Options(snapshot="s", accumulate=2).is_plain


def test_what_the_program_says_wins_over_the_environment():
    environ = {"HFDT_COMPRESSION": "fp16", "HFDT_NONFINITE": "skip"}
    options = Options.from_environ(environ, compression="bf16")
    assert (options.compression, options.nonfinite) == ("bf16", "skip")


def test_a_variable_of_the_wrong_type_is_named():
    with pytest.raises(
        ValueError,
        match=r"HFDT_ACCUMULATE must be an integer >= 1\. Rec",
    ):
        Options.from_environ({"HFDT_ACCUMULATE": "two"})


def test_scale_is_one_unless_asked():
    assert Options().scale(8) == 1
    assert Options(lr_scale="linear").scale(8) == 8
    assert Options(lr_scale=2).scale(8) == 2


def test_two_sets_of_options_are_told_apart_by_name():
    said = Options(op="adasum").difference(Options())
    assert said == "op='adasum' and 'mean'"
