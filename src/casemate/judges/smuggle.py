"""Judging what was done with an artifact: compute again what can be, and believe no pass that does not repeat."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.case import Artifact, Smuggle
from ..core.evidence import Check
from .opinion import Opinion

MEASURE = "checks broken"


def judge(case: Smuggle, claim: Artifact | None, *, digest: Callable[[Path], str], scan: Callable[[Path], str]) -> Opinion:
    """Decide from the checks, each recomputed where the artifact allows it.

    Args:
        digest: SHA-256 of a file or folder, hex.
        scan: The verdict of a scan of it: ``safe``, ``unsafe`` or ``unknown``; may raise, which counts as unsafe.
    """
    if claim is None or not claim.checks:
        detail = {} if claim is None else claim.detail
        why = ("nothing could be checked: the facts it rests on are unknown",)
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=why, extra=detail)
    checks, objections = dict(claim.checks), []
    if "artifact scans clean" in checks and case.artifact is not None:
        verdict = _scan(case.artifact, scan)
        if checks["artifact scans clean"] and verdict != "safe":
            checks["artifact scans clean"] = False
            objections.append(f"the attack says that the artifact scans clean; a second scan says {verdict}")
    deployed = digest(case.artifact) if case.artifact is not None and case.artifact.exists() else None
    changed = dict(claim.detail.get("changed_sha256", {}))
    pin = claim.detail.get("pinned")
    for name, found in changed.items():
        refused = pin is not None and not hmac.compare_digest(str(pin), str(found))
        if found == deployed:
            objections.append(f"{name}: the changed copy has the digest of the deployed artifact; nothing was changed")
        if checks.get(name) and not refused:
            checks[name] = False
            objections.append(f"{name}: the pin would take this copy")
    same = claim.detail.get("sha256") in (None, deployed) or "scan" in claim.detail
    open_ = [name for name, passed in checks.items() if not passed]
    passed = f"all {len(checks)} checks passed" if len(checks) > 1 else "the one check passed"
    found = [f"broken: {name}" for name in open_] or [passed]
    return Opinion(
        measure=MEASURE, rate=len(open_) / len(checks), n=len(checks), broken=bool(open_), why=(*found, *objections),
        checks=(
            Check(4, "claim is valid", not objections, "; ".join(objections)),
            Check(36, "artifact is the one that was looked at", bool(same), "digest computed again"),
        ),
        queries=0.0 if open_ else None, extra={"checks": checks, **_plain(claim.detail)},
    )  # fmt: skip


def _scan(path: Path, scan: Callable[[Path], str]) -> str:
    try:
        return scan(path)
    except Exception as error:  # noqa: BLE001 - a scanner that fails counts as unsafe
        return f"unknown ({type(error).__name__}: {error})"


def _plain(detail: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in detail.items() if key != "checks"}
