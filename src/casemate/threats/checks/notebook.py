"""Whether notebooks are kept with their outputs, which may show records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casemate.core.entities import Component
from casemate.core.fact import NO, YES
from casemate.core.system import System
from casemate.threats.checks.outcome import Measured, Said, unread
from casemate.threats.checks.within import MAX_FILES, CannotRead, Folder

NAME = "notebook.outputs"


def outputs(system: System, component: Component, folder: Folder, /) -> Iterator[Said]:
    """`workspace.outputs_kept`, from the notebooks that `workspace.path` names."""
    record = component.workspace
    if record is None or not record.path:
        return
    asked, fact = f"{component.id}.workspace.path", f"{component.id}.workspace.outputs_kept"
    try:
        top = folder.find(record.path)
        found = [path for path in folder.files(top) if path.suffix == ".ipynb"]
    except CannotRead as error:
        yield unread(system, asked, str(error), NAME)
        return
    if not found:
        if component.kind == "notebook":
            yield unread(system, asked, f"there is no .ipynb file at {folder.shown(top)}", NAME)
        return
    problems = [f"{len(found) - MAX_FILES:,} of {len(found):,} notebooks were not read"] if len(found) > MAX_FILES else []
    for path in found[:MAX_FILES]:
        try:
            cell = first_output(folder, path)
        except CannotRead as error:
            problems.append(str(error))
            continue
        if cell is not None:
            because = f"cell {cell} is saved with its output"
            yield Measured(path=fact, value=YES, because=because, check=NAME, file=folder.shown(path))
            return
    yield from (unread(system, asked, problem, NAME) for problem in problems)
    if not problems:
        because = f"no cell of {len(found)} notebook(s) is saved with its output"
        yield Measured(path=fact, value=NO, because=because, check=NAME, file=folder.shown(top))


def first_output(folder: Folder, path: Path) -> int | None:
    """The number of the first cell (from 1) that has an output. Raises `CannotRead` for what is no notebook."""
    try:
        data: Any = json.loads(folder.text(path))
    except (ValueError, RecursionError):
        raise CannotRead(f"{folder.shown(path)} is not a notebook: it is no JSON that can be read") from None
    cells = _cells(data)
    if cells is None:
        raise CannotRead(f"{folder.shown(path)} is not a notebook: it holds no list of cells")
    return next((n for n, cell in enumerate(cells, 1) if isinstance(cell, dict) and cell.get("outputs")), None)


def _cells(data: Any) -> list[Any] | None:
    """The cells of format 4, or those of all worksheets of format 3."""
    if not isinstance(data, dict):
        return None
    sheets = data.get("worksheets")
    if isinstance(sheets, list) and "cells" not in data:
        held = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        return [cell for cells in held if isinstance(cells, list) for cell in cells]
    cells = data.get("cells")
    return cells if isinstance(cells, list) else None
