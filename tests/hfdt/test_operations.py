"""Operations that are observed: in a graph, nothing waits for the observer."""

from __future__ import annotations

import tensorflow as tf

from hfdt.communicator import HorovodCommunicator
from hfdt.operations import ObservedCommunicator


def ancestors(operation):
    """Returns all operations that run before one has ended."""
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [i.op for i in one.inputs] + list(one.control_inputs)
    return found


def traced(ranks):
    """Returns the results of two operations that are on their way at one time."""

    @tf.function
    def step(first, second):
        return [
            ranks.operation("sum", [x], name, lambda t: [tf.identity(t[0], "sent")])[0]
            for name, x in (("first", first), ("second", second))
        ]

    given = tf.TensorSpec([3]), tf.TensorSpec([2, 5])
    return step, step.get_concrete_function(*given)


def test_an_operation_waits_neither_for_an_observer_nor_for_another_one():
    told = []
    ranks = ObservedCommunicator(HorovodCommunicator(0, 2), [told.append])
    step, graph = traced(ranks)
    calls = [one for one in graph.graph.get_operations() if "PyFunc" in one.type]
    assert len(calls) == 6  # for each: when it began, when it had ended, and telling
    # Clocks have no state, so that none waits for one that was traced before it.
    assert sum(one.type == "PyFuncStateless" for one in calls) == 4
    sent = [one for one in graph.graph.get_operations() if one.name.startswith("sent")]
    assert len(sent) == 2
    for one in sent:
        assert not ancestors(one) & set(calls)
    for _ in range(2):
        step(tf.ones([3]), tf.ones([2, 5]))
    assert sorted((o.name, o.num_bytes, o.is_traced) for o in told) == [
        *[("first", 12, True)] * 2,
        *[("second", 40, True)] * 2,
    ]
    # Each has times of its own, not those of when the graph was made.
    first, *_, last = sorted(told, key=lambda one: one.begun_s)
    assert first.begun_s < last.begun_s
    assert all(one.took_s >= 0 for one in told)


def test_without_an_observer_a_graph_holds_the_operations_alone():
    _, graph = traced(HorovodCommunicator(0, 2))
    types = {one.type for one in graph.graph.get_operations()}
    assert types == {"Placeholder", "Identity"}


def test_work_around_operations_is_told_to_who_wants_it():
    told, of_work = [], []
    plain = HorovodCommunicator(0, 2)
    ObservedCommunicator(plain, [told.append], [of_work.append]).note_work(
        "a", 1.0, 3.0
    )
    assert told == [] and [one.took_s for one in of_work] == [2.0]
    plain.note_work("a", 1.0, 3.0)  # nobody asks
