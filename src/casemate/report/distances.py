"""How small a change suffices: the quantiles beside a security curve, and what each curve means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.evidence import Evidence
from .words import clean

QUANTILES = ("0.1", "0.25", "0.5", "0.75", "0.9")
_SPENT = (
    "Kaplan-Meier: a row that did not fall counts as standing until the attack ended, and is censored there. "
    "Band: pointwise 95%, Greenwood."
)
CAPTIONS = {
    "queries": _SPENT,
    "own calls": _SPENT,
    "radius": "The share of rows with a change that small, all radii from one run. Band: pointwise 95%, Clopper-Pearson.",
}
_RADIUS = re.compile(r"(?P<norm>\w+) <= (?P<radius>[\d.e+-]+) in ")


@dataclass(frozen=True, slots=True)
class Distances:
    """The smallest change found for each row, over the rows for which one was found at all."""

    attack: str
    n: int
    found: int
    quantiles: tuple[tuple[str, str], ...]  # "10%", "0.058"

    @property
    def said(self) -> str:
        missing = f"; none for the other {self.n - self.found:,}" if self.found < self.n else ""
        return f"Smallest change by {self.attack}, found for {self.found:,} of {self.n:,} rows{missing}"

    @property
    def listed(self) -> str:
        """In a line: ``10% of them within 0.058, 25% within 0.082``."""
        return ", ".join(f"{share} within {value}" for share, value in self.quantiles)


def distances(evidence: Evidence) -> Distances | None:
    """The quantiles of one piece of evidence; None where no smallest change was looked for."""
    held = evidence.extra.get("distances")
    if not isinstance(held, Mapping) or not held.get("n"):
        return None
    found = [(f"{100 * float(q):.0f}%", held.get(q)) for q in QUANTILES]
    shown = tuple((share, f"{value:.3g}") for share, value in found if isinstance(value, int | float) and math.isfinite(value))
    return Distances(clean(held.get("attack", "")), int(held["n"]), int(held.get("found", 0)), shown)


def stated_radius(evidence: Evidence) -> float | None:
    """The radius that the adversary is allowed, where the constraint is a ball."""
    match = _RADIUS.match(str(evidence.extra.get("within", "")))
    return float(match["radius"]) if match else None
