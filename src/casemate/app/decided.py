"""Finds the dispositions of a description and applies them: shared by the commands that list or judge threats."""

from __future__ import annotations

from pathlib import Path

from ..core.finding import Assessment


def dispose(assessment: Assessment, path: Path | None, today: str | None) -> Assessment:
    """The assessment with what was decided about its findings. A file that was named must exist; the usual one may."""
    from ..runs.disposed import apply
    from ..threats.dispositions import beside, read_dispositions
    from .given import day

    chosen = path or beside(assessment.path)
    on = day(today)
    return apply(assessment, read_dispositions(chosen, on), on) if chosen else assessment
