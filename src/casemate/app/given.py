"""What an argument names: descriptions to derive, a report file, or a run in the store; always as assessments."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

    from ..core.finding import Assessment

STORE = ".casemate/evidence.db"
_DIGEST = re.compile(r"[0-9a-f]{6,64}\Z")


def filled(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The callback of an option with a value: `--policy "$POLICY"` of an unset variable is not the same as no policy.

    Raises:
        UsageError: It is given, and empty.
    """
    from ..core.errors import UsageError

    if value is not None and not value.strip():
        name = option.opts[0] if option.opts[0].startswith("-") else str(option.name).upper()
        choice = ", or leave the option out" if name.startswith("-") else ""
        raise UsageError(f"{name} is empty; give a value{choice} (is a variable unset?)")
    return value


def given(text: str, store: str = STORE) -> list[Assessment]:
    """The assessments behind a description (file or folder), a report.json, or the first characters of a stored digest.

    A description is derived: nothing of the user's code is loaded, and nothing is attacked.

    Raises:
        UsageError: It names none of these, or what it names cannot be read.
    """
    from ..core.errors import UsageError
    from ..runs.derived import derived
    from ..runs.read_back import read_report

    path = Path(text)
    if path.is_file() and _starts_with_brace(path):
        data = path.read_bytes()
        if not _is_description(data):
            return list(read_report(data, text))
    if path.exists():
        from .show import descriptions

        return [derived(one)[1] for one in descriptions([text])]
    if _DIGEST.match(text):
        return [_stored(text, store)]
    raise UsageError(f"{text!r} is no file, no folder, and no digest of a stored run (casemate report lists them)")


def _starts_with_brace(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def _is_description(data: bytes) -> bool:
    """A description may be JSON too: it says `casemate` and its system, where a report says its format."""
    from ..runs.read_back import Misfit, parsed

    try:
        held: Any = parsed(data, "")
    except Misfit:
        return b'"format"' not in data[:4096] and b"casemate:" in data[:4096]
    return isinstance(held, dict) and ("casemate" in held or "extends" in held) and "format" not in held


def _stored(start: str, store: str) -> Assessment:
    from ..core.errors import UsageError
    from ..runs.read_back import assessment_of, parsed

    database = opened(store)
    if database is None:
        raise UsageError(f"there is no store at {store!r}, so no run {start!r}; casemate assess makes one, or give --store")
    found = sorted({id for id, _, _ in database.runs() if id.startswith(start)})
    if len(found) != 1:
        which = f"{len(found)} runs: {', '.join(id[:16] for id in found[:5])}" if found else "no run"
        raise UsageError(f"{start!r} names {which} in {store}; casemate report lists them")
    held = database.run(found[0]) or "{}"
    return assessment_of(parsed(held.encode(), f"run {found[0][:12]}"), f"run {found[0][:12]}")


def opened(store: str) -> Any:
    """The store, or None where there is none: it is never made by looking."""
    from ..store.cells import Store

    return Store(store) if "://" in store or Path(store).is_file() else None


def day(text: str | None) -> datetime.date:
    """The day that a command judges on: an option or CASEMATE_TODAY, else the clock's.

    Raises:
        UsageError: It is no day.
    """
    from ..core.errors import UsageError

    stated = text or os.environ.get("CASEMATE_TODAY", "")
    if not stated:
        return datetime.datetime.now().astimezone().date()
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", stated):
            raise ValueError
        return datetime.date.fromisoformat(stated)
    except ValueError:
        raise UsageError(f"--today: expected a day as YYYY-MM-DD; got {stated!r}") from None
