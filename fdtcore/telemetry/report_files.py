"""The files of a report: a picture, a page, a file for Perfetto."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fdtcore.telemetry import perfetto
from fdtcore.telemetry.theme import DARK, LIGHT, Theme
from fdtcore.telemetry.trace_file import check_directory

PICTURE, PAGE = "report.png", "report.html"


class Report(NamedTuple):
    """What was written, and the lines that a run ends with."""

    picture: Path
    page: Path
    perfetto: Path
    lines: list[str]


def folder(directory: str | Path, output: str | Path | None) -> Path:
    """Returns the folder that the files go to, which is made.

    Args:
        directory: Folder of the trace, or the path of its file.
        output: Where the user wants them.

    Raises:
        ValueError: The folder cannot be written to.
    """
    source = Path(directory)
    found = Path(output or (source if source.is_dir() else source.parent))
    check_directory(found)
    return found


def write(
    folder: Path,
    lines: list[str],
    draw: Callable[[Theme], bytes],
    page: Callable[[tuple[bytes, bytes]], str],
    facts: Mapping[str, Any],
    events: Iterable[Mapping[str, Any]],
) -> Report:
    """Writes the three files.

    Args:
        folder: Where they go.
        lines: The lines that a run ends with.
        draw: Returns the picture, as PNG.
        page: Returns the page, from the pictures for light and for dark screens.
        facts: Of the job, for Perfetto.
        events: Trace events, for Perfetto.
    """
    light, dark = draw(LIGHT), draw(DARK)
    (folder / PICTURE).write_bytes(light)
    (folder / PAGE).write_text(page((light, dark)), encoding="utf-8")
    perfetto.write(folder / perfetto.NAME, facts, events)
    files = (folder / PICTURE, folder / PAGE, folder / perfetto.NAME)
    return Report(*files, lines)
