"""Progress and exit codes: what several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.evidence import Status
from ..core.finding import Assessment
from .echo import echo, printable

_OPEN = (Status.ERROR, Status.INCONCLUSIVE, Status.QUESTION, Status.UNTESTED, Status.CLAIMED)


def exit_code(assessments: Iterable[Assessment]) -> int:
    """1 where something was broken, 2 where that could not be told, 0 otherwise."""
    found = {finding.status for a in assessments for finding in a.findings}
    if Status.BROKEN in found:
        return 1
    return 2 if found & set(_OPEN) else 0


def wanted(formats: str) -> list[str]:
    """The report formats of an option, checked before anything is measured for them."""
    from ..core.errors import UnknownName
    from ..report.write import FORMATS

    names = [name.strip() for name in formats.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise UnknownName("report format", name, FORMATS)
    return names


@contextmanager
def progress(name: str, quiet: bool) -> Iterator[Any]:
    """A bar on a terminal, a line for each finished cell in a log, nothing when quiet."""
    if quiet:
        yield lambda event: None
        return
    if not sys.stderr.isatty():
        yield _line(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    name_column = TextColumn("{task.fields[system]}", style="bold", markup=False)
    columns = (name_column, BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}", markup=False), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", system=printable(name), total=1)

        def show(event: Any) -> None:
            bar.update(task, completed=event.done, total=event.total, description=printable(event.label)[:60])

        yield show


def _line(name: str) -> Any:
    def show(event: Any) -> None:
        if event.fraction >= 1.0:
            note = " (stored)" if event.stored else ""
            echo(f"{name}: {event.done}/{event.total} {event.label}{note}", err=True)

    return show


def descriptions(paths: Iterable[str]) -> list[Path]:
    """The description files that paths name; of a folder, every complete one below it."""
    from ..core.errors import UsageError
    from .described import complete

    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            inside = complete(path)
            if not inside:
                raise UsageError(
                    f"no description in {text!r}: a file with `casemate: 1` and `system:` or `extends:`; "
                    "dispositions, policies and rules are none; casemate init writes one"
                )
            found += inside
        else:
            raise UsageError(f"{text!r} does not exist; give a description file or a folder (casemate init writes one)")
    return list(dict.fromkeys(found))
