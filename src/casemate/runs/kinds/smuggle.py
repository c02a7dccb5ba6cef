"""The artifact and its loader: nothing is asked, nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.case import Smuggle
from ...judges import smuggle
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell


def check(case: Smuggle) -> None:
    """Whatever a description states of an artifact is a case."""


def judge(at: Judging) -> Opinion:
    from ...attacks.supply.scan import scan
    from ...attacks.supply.swap import digest_of

    return smuggle.judge(at.case, at.claim, digest=digest_of, scan=lambda path: scan(path).verdict)


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import supply_facts

    return Built(Smuggle(artifact=bench.artifact, pinned=bench.pinned, facts=supply_facts(bench, cell.adversary)))


SMUGGLE = Kind(check=check, judge=judge, build=build, targetless=True)
