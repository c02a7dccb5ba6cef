"""The artifact scan as an attack: would what lies in the model file run, if it were loaded?"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Artifact, Smuggle
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom


@attack("supply.scan", needs=Need.NONE, scope="set", aka=("artifact scan",), spends="reads the artifact once", modality=())
class ArtifactScan:
    """Read the deployed artifact, opcode by opcode, and never load it.

    One check, ``artifact scans clean``. A scanner that fails, skips or does not know a format counts as unsafe.
    """

    def __call__(self, oracle: Oracle, case: Smuggle, *, rng: RowRandom) -> Generator[Artifact, None, Artifact]:
        claim = examine(reachable(case))
        yield claim
        return claim


def reachable(case: Smuggle) -> Path:
    """The artifact of the case, or what is missing."""
    if case.artifact is None:
        raise BadInput("no artifact is bound to the description; name the model file as target.artifact")
    if not case.artifact.exists():
        raise BadInput(f"there is no artifact at {str(case.artifact)!r}; correct target.artifact")
    return case.artifact


def examine(path: Path) -> Artifact:
    """One scan as a claim. An error of the scanner is a failed check with its text, never a pass."""
    from .scan import scan

    try:
        report = scan(path)
    except Exception as error:  # noqa: BLE001 - whatever a scanner raises is a failed check
        return Artifact(
            checks={"artifact scans clean": False},
            detail={"scan": {"verdict": "unknown", "error": f"{type(error).__name__}: {error}"}},
        )
    found: dict[str, Any] = report.to_dict()
    found["path"] = path.name  # where the artifact lies on this machine is no property of it
    return Artifact(checks={"artifact scans clean": report.verdict == "safe"}, detail={"scan": found, "sha256": report.sha256})
