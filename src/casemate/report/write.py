"""Reports to files: each whole or not at all, and none stopped by another."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..core.errors import RunError, UnknownName
from ..core.finding import Assessment
from . import as_json, dot, html, markdown, mermaid, navigator, rows, sarif, svg, threat_csv, tmbom
from ._files import replace_file

Render = Callable[..., str | bytes]
FORMATS: Mapping[str, tuple[str, Render]] = {
    "html": ("report.html", html.render),
    "json": ("report.json", as_json.render),
    "md": ("report.md", markdown.render),
    "csv": ("threats.csv", threat_csv.render),
    "rows": ("rows.csv", rows.to_csv),
    "parquet": ("rows.parquet", rows.to_parquet),
    "sarif": ("report.sarif", sarif.render),
    "github": ("github.sarif", sarif.render_alerts),
    "navigator": ("atlas-layer.json", navigator.render),
    "tmbom": ("threats.cdx.json", tmbom.render),
    "svg": ("dataflow.svg", svg.render),
    "mermaid": ("dataflow.md", mermaid.render),
    "dot": ("dataflow.dot", dot.render),
}


ALL = "all"  # every format but Parquet, which needs an extra


def expanded(formats: str) -> str:
    """Names of formats between commas, with `all` written out."""
    every = ",".join(name for name in FORMATS if name != "parquet")
    return ",".join(every if name.strip() == ALL else name for name in formats.split(","))


class NotWritten(RunError):
    """Some reports could not be written. The others are there.

    Attributes:
        written: The files that are complete, by format.
        failures: What went wrong, by format.
    """

    def __init__(self, written: dict[str, Path], failures: dict[str, Exception]) -> None:
        self.written, self.failures = written, failures
        lines = [f"{name}: {_why(error)}" for name, error in failures.items()]
        if all(_is_full(error) for error in failures.values()):
            lines = [f"the disk is full; {', '.join(failures)} not written. Free some space and run the same command again"]
        super().__init__("could not write every report: " + "; ".join(lines))


def write(
    assessments: Sequence[Assessment],
    folder: str | Path,
    formats: Sequence[str] = ("html", "json", "md"),
    *,
    show_personal: bool = False,
) -> dict[str, Path]:
    """Write the reports, and say where each lies.

    Args:
        assessments: One or many; each format holds them all.
        folder: Made if it is not there. A report that was there before is replaced only by a complete one.
        formats: Of `FORMATS`.
        show_personal: Whether rows about people are shown.

    Raises:
        NotWritten: Some could not be written, after all the others were.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownName("report format", name, FORMATS)
    where = Path(folder)
    written: dict[str, Path] = {}
    failures: dict[str, Exception] = {}
    for name in dict.fromkeys(formats):
        file, render = FORMATS[name]
        try:
            content = render(assessments, show_personal=show_personal)
            replace_file(where / file, content)
            written[name] = where / file
        except Exception as error:  # noqa: BLE001 - whatever one format does, the others are written
            failures[name] = error
    if failures:
        raise NotWritten(written, failures) from next(iter(failures.values()))
    return written


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _why(error: Exception) -> str:
    return (
        "the disk is full"
        if _is_full(error)
        else f"{error}"
        if isinstance(error, RunError | ValueError | OSError)
        else repr(error)
    )
