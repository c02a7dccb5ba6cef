"""Everything that stands beside the rate of one piece of evidence, and the charts of what a whole set of rows shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.evidence import Evidence
from . import audits, copied, disclosed, groups, membership, outages, poisoned
from ._aside import Aside, Grid
from .charts import Drawn

# Curves that have a chart of their own; all others are drawn as shares against what was spent.
OWN = frozenset({"roc", "test error", "success", "agreement"})


def asides(evidence: Evidence, id: str, system: Any = None, personal: bool = False) -> tuple[Aside, ...]:
    """The blocks of one piece of evidence. What its judge did not leave is not there.

    Args:
        id: How the evidence is cited.
        system: Its description, for the prices.
        personal: Whether single people may be named.
    """
    found = (
        membership.aside(evidence, id, personal), audits.aside(evidence, id), poisoned.aside(evidence, id),
        copied.aside(evidence, id, getattr(system, "prices", None)), disclosed.aside(evidence, id),
        outages.aside(evidence, id),
    )  # fmt: skip
    return (*(one for one in found if one is not None), *groups.asides(evidence, id))


def chart(kind: str, held: Sequence[tuple[str, Evidence]], system: Any = None) -> Drawn | None:
    """The chart of the curves `kind` of a finding, each with the id of its evidence; None where there is nothing to draw."""
    if kind == "roc":
        return membership.chart(held)
    if kind == "agreement":
        return copied.chart(held, getattr(system, "prices", None))
    return poisoned.error_chart(held) if kind == "test error" else poisoned.success_chart(held)


__all__ = ["OWN", "Aside", "Grid", "asides", "chart"]
