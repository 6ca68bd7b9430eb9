"""Runs that never were, and their outcomes."""

from benchmarks.papers.runs import Outcome, Run


def run(**settings):
    """Returns a run of which only some settings matter."""
    usual = dict(
        work="fashion_mnist",
        algorithm="asgd",
        workers=4,
        times="even",
        rate=0.1,
        seed=0,
        steps=20,
    )
    return Run(**usual | settings)


def outcome(accuracy=0.5, **values):
    """Returns an outcome of which only some values matter."""
    usual = dict(
        accuracy=accuracy,
        loss=1.0,
        diverged=False,
        mean_staleness=3.0,
        max_staleness=5,
        waiting=0.0,
        time_s=20.0,
        seconds=0.1,
        accuracies=(accuracy,),
        losses=(1.0,),
    )
    return Outcome(**usual | values)
