"""The worst case row by row: what falls to any of the attacks of one finding, and what to one of them alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.evidence import Evidence, Interval, Verdict
from ..judges.statistics import clopper_pearson
from .words import clean, count_of, evidence_id, percents


@dataclass(frozen=True, slots=True)
class Worst:
    """Over the rows that every one of the attacks was run on.

    Args:
        only: Rows that fell to one attack alone, by its name; those with none are left out.
        elsewhere: Rows that some of the attacks were not run on. They are not counted.
    """

    fell: int
    n: int
    interval: Interval
    only: tuple[tuple[str, int], ...]
    attacks: int
    elsewhere: int
    ids: tuple[str, ...]

    @property
    def said(self) -> str:
        """In one sentence, with the evidence it rests on."""
        share = f"{self.fell:,} of {count_of(self.n, 'row')} fell ({percents(self.interval)})"
        alone = "; ".join(f"only by {name}: {count:,}" for name, count in self.only) or "none to one attack alone"
        apart = f"; {count_of(self.elsewhere, 'row')} that not all of them met left aside" if self.elsewhere else ""
        many = "both" if self.attacks == 2 else f"all {self.attacks}"
        return f"Over {many} attacks {share}; {alone}{apart} [{', '.join(self.ids)}]."


def worst_case(evidence: Sequence[Evidence]) -> Worst | None:
    """The union over all evasion evidence; None where there are not two on the same rows."""
    held = [e for e in evidence if e.case == "evade" and e.verdict is not Verdict.ERROR and _by_row(e)]
    if len(held) < 2:
        return None
    attacked = [set(np.asarray(e.rows["row"])[np.asarray(e.rows["right"], bool)].tolist()) for e in held]
    shared = set.intersection(*attacked)
    if not shared:
        return None
    fell = [set(np.asarray(e.rows["row"])[np.asarray(e.rows["broken"], bool)].tolist()) & shared for e in held]
    times = Counter(row for rows in fell for row in rows)
    alone = [sum(times[row] == 1 for row in rows) for rows in fell]
    names = _names(held)
    return Worst(
        fell=len(times), n=len(shared), interval=clopper_pearson(len(times), len(shared)),
        only=tuple((name, count) for name, count in zip(names, alone, strict=True) if count), attacks=len(held),
        elsewhere=len(set.union(*attacked)) - len(shared), ids=tuple(evidence_id(e) for e in held),
    )  # fmt: skip


def _by_row(evidence: Evidence) -> bool:
    columns = [np.asarray(evidence.rows.get(name)) for name in ("row", "right", "broken")]  # None has no dimension
    return all(column.ndim == 1 for column in columns) and len({len(column) for column in columns}) == 1


def _names(held: Sequence[Evidence]) -> list[str]:
    """The attacks; where one was run twice, with its evidence."""
    often = Counter(e.attack for e in held)
    return [clean(e.attack) + (f" [{evidence_id(e)}]" if often[e.attack] > 1 else "") for e in held]
