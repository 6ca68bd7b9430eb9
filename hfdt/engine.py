"""The engine of HFDT: Horovod's collectives and the synchronous strategy."""

from __future__ import annotations

import os

from fdtcore import message_log
from fdtcore.control.control_line import ControlLine
from fdtcore.process import Process
from hfdt.collectives import HorovodCollectives
from hfdt.message_log import observer
from hfdt.options import Options
from hfdt.training import SynchronousTraining


class HorovodEngine:
    """What a process of a job is bound to Keras with.

    Args:
        collectives: Those of the ranks.
        options: The user's options of HFDT, the same on every rank.
        line: Tells the other ranks what this one does, and how it fails.
    """

    name = "hfdt"

    def __init__(
        self, collectives: HorovodCollectives, options: Options, line: ControlLine
    ):
        self.collectives, self.line = collectives, line
        self._is_logged = False
        self._log_messages(options)
        self.strategy = SynchronousTraining(collectives, options)
        self._is_chosen = False

    @property
    def process(self) -> Process:
        """This process among the ranks that train together."""
        return self.collectives.process

    def choose(self, options: Options) -> None:
        """Takes the choices of a call of ``distribute``.

        Raises:
            ValueError: Another call of it chose otherwise.
        """
        known = self.strategy.options
        if self._is_chosen and options != known:
            raise ValueError(
                "one job trains with one set of options. Received: "
                f"{options.difference(known)} in a second "
                "call of distribute. Pass the same options to both."
            )
        self._is_chosen = True
        self._log_messages(options)
        if options.process_sets:
            self.collectives.narrow(options.process_sets)
        self.strategy.choose(options)

    def _log_messages(self, options: Options) -> None:
        """Logs messages where the options want it, from their first call on."""
        directory = os.environ.get("HFDT_JOB_DIR")
        if self._is_logged:
            return
        if log := message_log.wanted(options, self.process.rank, directory):
            self._is_logged = True
            self.collectives.observe(observer(log, self.process.rank))
