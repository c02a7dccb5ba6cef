"""Finds the dispositions of descriptions and applies them: shared by the commands that list or judge threats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.finding import Assessment


def dispose(done: Sequence[Assessment], path: str | None, today: str | None) -> list[Assessment]:
    """The assessments with what was decided about their findings. A file that was named must exist; the usual one may.

    Systems that share a file share its decisions: one that fits none of them is an orphan, and only then.
    """
    from ..runs.disposed import apply, threat_ids
    from ..threats.dispositions import beside, read_dispositions
    from .given import day

    on = day(today)
    files = [Path(path) if path else beside(a.path) for a in done]
    read = {file: read_dispositions(file, on) for file in dict.fromkeys(files) if file}
    ruled = []
    for assessment, file in zip(done, files, strict=True):
        others = [id for a, f in zip(done, files, strict=True) if f == file and a is not assessment for id in threat_ids(a)]
        ruled.append(apply(assessment, read[file], on, elsewhere=others) if file else assessment)
    return ruled
