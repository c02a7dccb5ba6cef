"""Judging the drill of a swapped data set: did the deployed loader take what was put in a file's place?"""

from __future__ import annotations

from ..core.case import Artifact
from ..core.evidence import Check
from ..core.fetch import Fetch
from .opinion import Opinion

MEASURE = "swapped files taken"


def judge(case: Fetch, claim: Artifact | None) -> Opinion:
    """`broken` when a swapped file was fetched and the loader went on. A loader that does not take the files as they were
    either shows nothing, and is not decided."""
    if claim is None or "swapped file refused" not in claim.checks:
        detail = {} if claim is None else dict(claim.detail)
        reason = str(detail.get("undecided", "nothing could be swapped"))
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=(reason,), undecided=reason, extra=detail)
    refused, pinned = claim.checks["swapped file refused"], claim.checks["every file is pinned by digest"]
    asked = int(claim.detail.get("asked", 0))
    verdict = {
        (True, True): "pinned by digest, and the digest is checked: the swap was refused",
        (True, False): "not every file is pinned, yet the swap was refused: by something else that this drill cannot see",
        (False, True): "pinned by digest, but the digest is not checked: the swapped file was taken",
        (False, False): "unpinned: the swapped file was taken",
    }[(refused, pinned)]
    fetched = Check(39, "the swapped file was fetched", asked > 0, f"asked for {asked} times")
    return Opinion(
        measure=MEASURE, rate=0.0 if refused else 1.0, n=1, broken=not refused and asked > 0, why=(verdict,),
        checks=(fetched,), queries=0.0 if not refused else None, extra={"checks": dict(claim.checks), **claim.detail},
    )  # fmt: skip
