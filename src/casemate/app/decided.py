"""Finds the dispositions of a description and applies them: shared by the commands that list or judge threats."""

from __future__ import annotations

import datetime
from pathlib import Path

from ..core.errors import UsageError
from ..core.finding import Assessment

NAME = "dispositions.yaml"


def today_is(text: str | None) -> datetime.date:
    """The day given, or today's."""
    try:
        return datetime.date.fromisoformat(text) if text else datetime.date.today()
    except ValueError:
        raise UsageError(f"--today: {text!r} is no day; give it as YYYY-MM-DD") from None


def dispose(assessment: Assessment, path: Path | None, today: str | None) -> Assessment:
    """The assessment with what was decided about its findings. A file that was named must exist; the usual one may."""
    from ..runs.disposed import apply
    from ..threats.dispositions import read_dispositions

    usual = Path(assessment.path).parent / NAME
    chosen = path or (usual if usual.is_file() else None)
    return apply(assessment, read_dispositions(chosen), today_is(today)) if chosen else assessment
