"""The recorder of the first server: trace and summary of a run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nfdt import algorithms
from nfdt.options import Options
from nfdt.protocol.events import Event
from nfdt.protocol.server import Service
from nfdt.protocol.topology import Roles
from nfdt.telemetry import trace
from nfdt.telemetry.summary import Summary

SUMMARY_NAME = "summary.json"


class Recording:
    """The trace and the summary of one run, which server 0 writes for all.

    Args:
        service: State machine of the server process.
        options: The user's options: folder of the trace, and facts for its first line.
        roles: Who is who in the job.
        server: Index of the server.
    """

    def __init__(self, service: Service, options: Options, roles: Roles, server: int):
        self._service, self._is_first = service, server == 0
        self.summary = Summary()
        self._tracing = _tracing(options, roles) if self._is_first else None

    def take(self) -> list[Event]:
        """Writes down what happened since the last call; returns pushes and steps."""
        events, happenings = self._service.take_records()
        if self._is_first:
            self.summary.add(events)
        if self._tracing is not None:
            self._tracing.add(events)
            for time_s, about in happenings:
                self._tracing.note(time_s=time_s, **about)
        return events

    def note(self, kind: str, now_s: float, worker: int, **more: str) -> None:
        """Writes down that something has happened to a worker."""
        if self._tracing is not None:
            self._tracing.note(kind, now_s, worker=worker, **more)

    def close(self) -> str | None:
        """Ends the trace; returns why it is not whole, where it is not."""
        self.take()
        if self._tracing is None:
            return None
        self._tracing.close()
        return self._tracing.problem

    def write_summary(self, directory: str) -> bool:
        """Leaves the summary to the launcher.

        Args:
            directory: That of the job.

        Returns:
            Whether that was possible: a full disk must not keep a job from its end.
        """
        path = Path(directory, SUMMARY_NAME)
        try:
            if self._is_first and path.parent.is_dir():
                path.write_text(self.summary.to_json())
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()  # what there is of it
            return False
        return True


def _tracing(options: Options, roles: Roles) -> trace.TraceWriter | None:
    if not options.trace:
        return None
    facts = {
        "algorithm": algorithms.find(options.algorithm).name,
        "consistency": str(options.consistency),
        "workers": roles.num_workers,
        "servers": roles.num_servers,
    }
    return trace.TraceWriter(options.trace, facts)
