"""What a threat is worth to whom: impact, attacker cost with its basis, and how sure that is. Never one sum.

The bands of money, per impact, give the severity. A cost that was measured and one that the catalogue assumes are told
apart everywhere: `basis`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Basis = Literal["measured", "prior", "none"]
Confidence = Literal["measured adaptively", "measured", "asserted", "prior"]
Margin = Literal["profitable", "marginal", "uneconomic"]
CONFIDENCES: tuple[Confidence, ...] = ("measured adaptively", "measured", "asserted", "prior")


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """The risk of one threat.

    Args:
        impact: 0 to 4; `impact_because` says which asset and which fact.
        low, high: What an attacker pays, in money (of `currency` where prices are stated, else of the catalogue's
            assumption); None where it is not known in money.
        basis: `measured` (an attack was run), `prior` (the catalogue's assumption: to be drawn differently), `none`.
        severity: One of `casemate.core.finding.SEVERITIES`, from impact and the band of the cost.
        margin: The attacker's expected gain over cost, where the description states gains; else "".
        terms: What the cost is made of, in words: "30 accounts at 2.00", "1,200 queries at 0.50 per 1,000".
        changes: The one thing that would change this most.
    """

    impact: int
    impact_because: str
    low: float | None = None
    high: float | None = None
    currency: str = ""
    basis: Basis = "none"
    band: str = "not shown"
    severity: str = "none"
    confidence: Confidence = "prior"
    margin: Margin | Literal[""] = ""
    terms: tuple[str, ...] = ()
    changes: str = ""
