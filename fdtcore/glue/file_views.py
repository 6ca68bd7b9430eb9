"""A rank's view of files: as rank 0 left them at the last joint call."""

from __future__ import annotations

from fdtcore.engine import Collectives
from fdtcore.glue import file_data, native_files
from fdtcore.shadow_files import patches


def install(collectives: Collectives, job_dir: str | None) -> None:
    """Gives this rank its view, before the script runs.

    Args:
        collectives: Those of several ranks.
        job_dir: Where each rank's output goes, if there is such a folder.
    """
    is_first = collectives.process.rank == 0
    path = collectives.broadcast_text(patches.begin_journal() if is_first else "")
    view = (
        patches.watch(path)
        if is_first
        else patches.install([job_dir] if job_dir else [], path)
    )
    native_files.install(view)
    file_data.install(view)
