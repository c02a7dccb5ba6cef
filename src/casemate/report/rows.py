"""Results row by row, as CSV or Parquet. Columns about people are redacted unless asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UnknownName, need
from ..core.evidence import Evidence
from ..core.finding import Assessment
from ..core.target import to_numpy
from ._files import replace_file
from .personal import REDACTED, hidden, redact_rows
from .words import evidence_id

HEAD = ("system", "threat", "evidence", "attack", "adversary")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
Table = dict[str, list[Any]]


def tables(assessments: Sequence[Assessment], *, show_personal: bool = False) -> Iterator[Table]:
    """One table of columns for each piece of evidence that has rows."""
    for assessment in assessments:
        hide = hidden(assessment, show_personal)
        for finding in assessment.findings:
            for evidence in finding.evidence:
                columns, n = _columns(evidence, hide)
                if n:
                    head = (assessment.name, finding.threat, evidence_id(evidence), evidence.attack, evidence.adversary)
                    yield {name: [value] * n for name, value in zip(HEAD, head, strict=True)} | columns


def _columns(evidence: Evidence, hide: bool) -> tuple[Table, int]:
    flat = {str(name): to_numpy(column) for name, column in evidence.rows.items() if np.ndim(column) == 1}
    n = max((len(column) for column in flat.values()), default=0)
    shown = redact_rows(flat, hide)
    return {name: [REDACTED] * n if isinstance(c, str) else c.tolist() for name, c in shown.items() if len(flat[name]) == n}, n


def to_csv(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """All rows of all evidence under one head. Text that a spreadsheet would take for a formula gets a leading quote."""
    held = list(tables(assessments, show_personal=show_personal))
    names = list(dict.fromkeys([*HEAD, *(name for table in held for name in table)]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(name) for name in names])
    for table in held:
        n = len(table["system"])
        writer.writerows(zip(*([_cell(v) for v in table[name]] if name in table else [""] * n for name in names), strict=True))
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def to_parquet(assessments: Sequence[Assessment], *, show_personal: bool = False) -> bytes:
    """The same rows as Parquet. A column that mixes kinds across evidence (labels as numbers and words) becomes text.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    arrow: Any = need("pyarrow", "parquet", "to_parquet")
    parquet: Any = need("pyarrow.parquet", "parquet", "to_parquet")
    held = list(tables(assessments, show_personal=show_personal))
    names = list(dict.fromkeys([*HEAD, *(name for table in held for name in table)]))
    columns = {name: _joined([table.get(name, [None] * len(table["system"])) for table in held]) for name in names}
    out = io.BytesIO()
    parquet.write_table(arrow.table(columns), out, compression="snappy")
    return out.getvalue()


def write_rows(assessments: Sequence[Assessment], path: str | Path, kind: str = "csv", *, show_personal: bool = False) -> Path:
    """Write them as ``csv`` or ``parquet``; the path gets that suffix. Returns where the file lies."""
    if kind not in ("csv", "parquet"):
        raise UnknownName("kind of table", kind, ("csv", "parquet"))
    where = Path(path).with_suffix(f".{kind}")
    export = to_csv if kind == "csv" else to_parquet
    replace_file(where, export(assessments, show_personal=show_personal))
    return where


def _joined(pieces: Sequence[list[Any]]) -> list[Any]:
    values = [value for piece in pieces for value in piece]
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and not kinds <= {int, float}:
        return [None if value is None else str(value) for value in values]
    return [float(v) if v is not None and float in kinds else v for v in values] if len(kinds) > 1 else values
