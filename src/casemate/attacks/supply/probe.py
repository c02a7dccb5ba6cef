"""What stands open: facts of the description, and the artifact where it can be reached."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Artifact, Smuggle
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .sniff import sniff
from .swap import digest_of


@attack("supply.probe", needs=Need.NONE, scope="set", aka=("exposure probe",), spends="reads the artifact once", modality=())
class Probe:
    """Look at what anyone can look at: who is asked to log in, which doors are open, whether the model can be picked up.

    Checks, each only where it can be told: ``callers authenticate`` (``auth``), ``admin interface closed``
    (``admin_exposed``), ``artifact out of reach`` (``read_binary``, ``read_weights``): what the description says can be read
    is within reach, whether or not a file of it is bound here. One that is bound is hashed and its format told by its
    bytes; it is never loaded. A fact nobody stated is a question, not a check.
    """

    def __call__(self, oracle: Oracle, case: Smuggle, *, rng: RowRandom) -> Generator[Artifact, None, Artifact]:
        claim = Artifact(checks=open_doors(case.facts), detail=look(case.facts, case.artifact))
        yield claim
        return claim


def open_doors(facts: Mapping[str, str]) -> dict[str, bool]:
    """The checks that the facts allow: passed (True) or open (False)."""
    checks: dict[str, bool] = {}
    if (auth := fact(facts, "auth")) is not None:
        checks["callers authenticate"] = auth != "none"
    if (admin := fact(facts, "admin_exposed")) is not None:
        checks["admin interface closed"] = admin == "no"
    readable = [fact(facts, name) for name in ("read_binary", "read_weights")]
    if any(value is not None for value in readable):
        checks["artifact out of reach"] = "yes" not in readable
    return checks


def look(facts: Mapping[str, str], artifact: Path | None) -> dict[str, Any]:
    """What the facts were, what was asked of them in vain, and the artifact's digest and format where it is in reach."""
    names = ("auth", "admin_exposed", "read_binary", "read_weights")
    detail: dict[str, Any] = {"facts": {n: fact(facts, n) for n in names if fact(facts, n) is not None}}
    detail["questions"] = [n for n in names[:2] if fact(facts, n) is None]
    in_reach = "yes" in (fact(facts, "read_binary"), fact(facts, "read_weights"))
    if in_reach and artifact is not None and artifact.exists():
        form = "directory" if artifact.is_dir() else str(sniff(artifact))
        detail |= {"sha256": digest_of(artifact), "format": form, "artifact": artifact.name}
    return detail


def fact(facts: Mapping[str, str], name: str) -> str | None:
    """A fact by the last word of its path; None where it is unknown or not stated."""
    found = next((str(v) for k, v in facts.items() if k.rpartition(".")[2] == name), None)
    return None if found in (None, "unknown") else found
