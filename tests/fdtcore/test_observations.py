"""What two short runs of a script are found to differ in."""

from fdtcore.examination import observations
from fdtcore.examination.observations import Observation


def fit(loss=(1.0, 0.5), kernel=(2.0, -3.0), steps=12, **more):
    return Observation(
        "fit 1 (train.py:9)",
        {"loss": list(loss), **more},
        {"dense/kernel": list(kernel)},
        {"adam": steps},
        {},
    )


def differences(first, second):
    return [(d.name, d.one, d.other) for d in observations.differences(first, second)]


def test_rounding_is_no_difference():
    assert differences([fit()], [fit(loss=(1.0001, 0.4999), kernel=(2.001, -3))]) == []


def test_a_small_element_of_a_variable_is_measured_by_its_largest():
    assert differences([fit(kernel=(0.001, 3))], [fit(kernel=(0.002, 3))]) == []
    assert differences([fit(loss=(0.001,))], [fit(loss=(0.002,))]) != []


def test_the_first_epoch_that_differs_is_named():
    found = differences([fit()], [fit(loss=(1.0, 0.7))])
    assert found == [("loss", 0.5, 0.7)]


def test_counts_differ_by_one():
    assert differences([fit()], [fit(steps=13)]) == [("adam.iterations", 12, 13)]


def test_nan_on_both_sides_is_alike_and_on_one_is_not():
    nan = float("nan")
    assert differences([fit(loss=(nan,))], [fit(loss=(nan,))]) == []
    assert [d[0] for d in differences([fit(loss=(1.0,))], [fit(loss=(nan,))])] == [
        "loss"
    ]


def test_a_metric_of_one_run_alone_is_not_compared():
    assert differences([fit(val_loss=[2.0])], [fit()]) == []


def test_what_a_process_writes_is_read_again(tmp_path):
    observations.write(str(tmp_path / observations.file_name(1)), [fit()])
    assert observations.read(tmp_path, 1) == [fit()]
    assert observations.read(tmp_path, 0) == []
