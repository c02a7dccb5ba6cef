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
SCANNED = "artifact scans clean"
_AT_LOAD = ("artifact.digest_verified_at_load", "artifact.signature_verified_at_load")
ANOTHER = "keeps another one out"  # ends the reason where a clean scan is of one file among any that would be loaded


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
    if SCANNED in checks and case.artifact is not None:
        verdict = _scan(case.artifact, scan)
        if checks[SCANNED] and verdict != "safe":
            checks[SCANNED] = False
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
    found = [f"not so: {name}" for name in open_] or [_passed(list(checks))]
    return Opinion(
        measure=MEASURE, rate=len(open_) / len(checks), n=len(checks), broken=bool(open_), why=(*found, *objections),
        undecided=_replaceable(case) if set(checks) == {SCANNED} else "",
        checks=(
            Check(4, "claim is valid", not objections, "; ".join(objections)),
            Check(36, "artifact is the one that was looked at", bool(same), "digest computed again"),
        ),
        queries=0.0 if open_ else None, extra={"checks": checks, **_plain(claim.detail)},
    )  # fmt: skip


def _passed(names: list[str]) -> str:
    """What it says that every check passed."""
    if names == [SCANNED]:
        return "the file as it is now carries no code"
    return f"all {len(names)} checks passed" if len(names) > 1 else "the one check passed"


def _replaceable(case: Smuggle) -> str:
    """Why a clean scan of today's file does not decide: the loader would take another. Empty where it is known not to.

    A case that states neither of the two facts is a file by itself, without a loader.
    """
    stated = [case.facts[path] for path in _AT_LOAD if path in case.facts]
    if not stated or "yes" in stated:
        return ""
    return f"nothing {ANOTHER}" if stated == ["no"] * len(_AT_LOAD) else f"nothing that is stated {ANOTHER}"


def _scan(path: Path, scan: Callable[[Path], str]) -> str:
    try:
        return scan(path)
    except Exception as error:  # noqa: BLE001 - a scanner that fails counts as unsafe
        return f"unknown ({type(error).__name__}: {error})"


def _plain(detail: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in detail.items() if key != "checks"}
