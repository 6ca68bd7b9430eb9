"""Spark: one stage of barrier tasks, which start together or not at all."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fdtcore.launcher.engines import engine
from fdtcore.launcher.engines.engine import Task

_MIN_JAVA = 17
_CONFIGURATION = {
    "spark.app.name": "fdt",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # Else tasks that wait for a better place keep the barrier from starting.
    "spark.locality.wait": "0",
    # A stage that has failed is not run again: its job is over.
    "spark.stage.maxConsecutiveAttempts": "1",
    "spark.task.maxFailures": "1",
    # By itself it looks 40 times in 10 minutes whether there are enough slots: how long
    # they are waited for is the job's to say.
    "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "1s",
    "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "86400",
}


class Spark:
    """A cluster of any kind that Spark knows.

    Args:
        where: Its master, ``spark://node1:7077`` or ``yarn``; empty for that of Spark's
            own configuration.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._context: Any = None
        self._error = ""

    def connect(self) -> str:
        """Starts the driver of Spark in this process; see `GangEngine.connect`."""
        engine.require("pyspark")
        _require_java()
        from pyspark import SparkConf, SparkContext

        conf = SparkConf()
        for name, value in _CONFIGURATION.items():
            conf.set(name, value)
        if self._where:
            conf.setMaster(self._where)
        try:
            self._context = SparkContext(conf=conf)
        except Exception as error:  # of Py4J, or of Python
            raise ValueError(
                "the master of Spark must be reachable. Received: "
                f"{self._where or 'its own configuration'}: {_cause(error)}. "
                "Write: --on spark=spark://HOST:7077."
            ) from None
        own = self._context.getConf()
        if own.get("spark.dynamicAllocation.enabled", "false") == "true":
            raise ValueError(
                "the number of Spark's executors must be fixed: all processes of a job "
                "start together. Received: spark.dynamicAllocation.enabled=true. "
                "Set it to false, and spark.executor.instances."
            )
        return str(own.get("spark.driver.host"))

    def num_slots(self) -> int:
        """Returns the cores of the executors that are there.

        It is 2 where there are none yet: Spark itself then waits for them.
        """
        return int(self._context.defaultParallelism)

    def start(self, tasks: Sequence[Task]) -> None:
        """Runs the tasks as one stage, in a thread of its own."""
        several = list(tasks)

        def run_one(index: int, _: Iterable[Any]) -> Iterator[int]:
            from pyspark import BarrierTaskContext

            context = BarrierTaskContext.get()
            if context.attemptNumber() > 0:
                raise RuntimeError("a stage that was lost is not run again")
            yield several[index]()

        numbers = self._context.parallelize(range(len(several)), len(several))
        stage = numbers.barrier().mapPartitionsWithIndex(run_one)

        def collect() -> None:
            try:
                stage.collect()
            except Exception as error:  # of Py4J
                self._error = f"Spark: {_cause(error)}"

        threading.Thread(target=collect, daemon=True).start()

    def problem(self) -> str:
        """Returns why the stage has ended."""
        return self._error

    def close(self) -> None:
        """Ends the stage and the driver."""
        if self._context is not None:
            self._context.cancelAllJobs()
            self._context.stop()


def _cause(error: BaseException) -> str:
    """Returns the line of a long text of Java's that says what is wrong."""
    for line in str(error).splitlines():
        if "SparkException: " in line:
            return line.partition("SparkException: ")[2].strip().rstrip(".")[:300]
    return engine.one_line(error)


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    said = engine.java_version(java) if java else ""
    # openjdk version "17.0.15" 2025-04-15
    version = said.partition('"')[2].partition(".")[0].strip('"')
    if not version.isdecimal() or int(version) < _MIN_JAVA:
        raise ValueError(
            f"Spark needs Java {_MIN_JAVA} or later. Received: {said or 'no java'}. "
            "Install it, as by apt-get install default-jre-headless, or set JAVA_HOME."
        )
