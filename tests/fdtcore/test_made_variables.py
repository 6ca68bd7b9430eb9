"""How the variables of a loop by hand combine, of two ranks that one process plays."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from fdtcore.glue import made_variables, state


def rules_of(mine, theirs):
    """Returns the rules on a rank that has some variables, and hears of the others."""

    def texts(held):
        lines = zip(made_variables.model_state.described(held), held, strict=True)
        return "\n".join(f"{text} {state.digest([v])}" for text, v in lines)

    collectives = SimpleNamespace(
        process=SimpleNamespace(size=2, rank=0),
        allgather_text=lambda text: [text, texts(theirs)],
    )
    return made_variables.rules(collectives, mine)


def mean(*values):
    metric = keras.metrics.Mean(name="total")
    for value in values:
        metric.update_state(value)
    return list(metric.variables)


def weight(value):
    return [keras.Variable(np.full((2,), value, "float32"), name="w")]


@pytest.mark.parametrize("theirs", [(3.0, 4.0), (3.0, 4.0, 5.0)])
def test_a_metric_adds_up_also_where_its_counts_are_alike(theirs):
    assert rules_of(mean(1.0, 2.0), mean(*theirs)) == ["sum", "sum"]


def test_what_is_alike_is_kept_once():
    mine = mean(1.0, 2.0) + weight(1.0)
    assert rules_of(mine, mean(1.0, 2.0) + weight(1.0)) == [None, None, None]


def test_weights_that_differ_are_averaged_and_leave_metrics_alone():
    mine = mean(1.0) + weight(1.0)
    assert rules_of(mine, mean(1.0) + weight(2.0)) == [None, None, "mean"]


def test_ranks_with_other_variables_have_no_rules():
    assert rules_of(weight(1.0), weight(1.0) + weight(1.0)) is None
