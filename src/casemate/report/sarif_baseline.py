"""An earlier report, SARIF or JSON, as what a new run is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from .as_json import FORMAT
from .machine import fingerprint

Baseline = Mapping[str, Any] | str | Path
_HAND_IN = "hand in a report.sarif or report.json"


@dataclass(frozen=True, slots=True)
class Before:
    """A finding as it was."""

    system: str
    threat: str
    rule: str
    status: str
    severity: str


def read_baseline(baseline: Baseline) -> dict[str, Before]:
    """The findings of an earlier report by fingerprint.

    Raises:
        UsageError: It cannot be read, or is neither a SARIF log of casemate nor its JSON report.
    """
    data = baseline if isinstance(baseline, Mapping) else _parsed(Path(baseline))
    try:
        if isinstance(data, Mapping) and data.get("format") == FORMAT:
            return {fingerprint(b.system, b.threat): b for b in _from_report(data)}
        if isinstance(data, Mapping) and data.get("version") == "2.1.0" and "runs" in data:
            return dict(_from_sarif(data))
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the baseline is not a report of casemate: {error!r}; {_HAND_IN}") from error
    raise UsageError(f"the baseline is neither a SARIF 2.1.0 log nor a JSON report of casemate; {_HAND_IN}")


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the baseline {str(path)!r} cannot be read: {error}; {_HAND_IN}") from error


def _from_report(data: Mapping[str, Any]) -> Iterator[Before]:
    for assessment in data["assessments"]:
        for f in assessment["findings"]:
            risk = f.get("risk") or {}
            yield Before(assessment["name"], f["threat"], f["rule"], f["status"], risk.get("severity") or f["severity"])


def _from_sarif(data: Mapping[str, Any]) -> Iterator[tuple[str, Before]]:
    """By the fingerprint that was written. What was absent then is not there to compare with."""
    for run in data["runs"]:
        system = (run.get("properties") or {}).get("system", "")
        for result in run.get("results") or ():
            mark = (result.get("partialFingerprints") or {}).get("casemate/v1")
            held = result.get("properties") or {}
            threat, status, severity = (held.get(key, "") for key in ("threat", "status", "severity"))
            if mark and result.get("baselineState") != "absent":
                yield mark, Before(system, threat, result["ruleId"], status, severity)
