"""What a threat is worth to whom: impact, attacker cost with its basis, and how sure that is. Never one sum.

The bands of money, per impact, give the severity. A cost that was measured and one that the catalogue assumes are told
apart everywhere: `basis`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .entities import Prices, Principal

Basis = Literal["measured", "prior", "none"]
Confidence = Literal["measured adaptively", "measured", "asserted", "prior"]
Margin = Literal["profitable", "marginal", "uneconomic"]
CONFIDENCES: tuple[Confidence, ...] = ("measured adaptively", "measured", "asserted", "prior")
# Bands of money, each up to its edge and not including it. The last has none.
MONEY_BANDS = ("trivial", "cheap", "costly", "prohibitive")
MONEY_EDGES = (100.0, 10_000.0, 1_000_000.0)
# Rows: impact 1 to 4. Columns: MONEY_BANDS. Impact 0 is low whatever it costs.
MATRIX = (
    ("low", "low", "low", "low"),
    ("medium", "medium", "low", "low"),
    ("high", "high", "medium", "low"),
    ("critical", "critical", "high", "medium"),
)
PROFITABLE, UNECONOMIC = 10.0, 1.0


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


@dataclass(frozen=True, slots=True)
class Spent:
    """What an attack used. `queries` and `cpu_hours` are for one success where `each`, else for the whole campaign."""

    queries: float | None = None
    records: int | None = None
    accounts: int = 1
    cpu_hours: float = 0.0
    human_hours: float = 0.0
    each: bool = False


@dataclass(frozen=True, slots=True)
class Paid:
    """A price: what is paid once, what for each success, the terms in words, and the prices that nobody stated."""

    once: float
    each: float
    terms: tuple[str, ...]
    unstated: tuple[str, ...] = ()

    @property
    def total(self) -> float | None:
        """One success; None where nothing that was used has a price."""
        return self.once + self.each if self.terms else None


def middle(low: float, high: float) -> float:
    """The geometric middle of a cost, in which neither end counts as less than 1."""
    return math.sqrt(max(low, 1.0) * max(high, 1.0))


def money_band(money: float | None) -> str:
    """The band of a cost in money; ``not shown`` where it is not known."""
    if money is None:
        return "not shown"
    return MONEY_BANDS[sum(money >= edge for edge in MONEY_EDGES)]


def by_matrix(impact: int, band: str) -> str:
    """The severity of an impact (0 to 4) at a band of money."""
    return MATRIX[min(impact, 4) - 1][MONEY_BANDS.index(band)] if impact > 0 else "low"


def priced(spent: Spent, prices: Prices | None, principal: Principal | None) -> Paid:
    """What an attack costs by the prices of the description; what has none is named, not guessed."""
    stated = prices or Prices()
    rows = _access(spent, stated, principal)
    rows += [
        (spent.records, stated.per_record, 1, "record", "records", "per_record"),
        (spent.human_hours, stated.per_human_hour, 1, "hour of work", "hours of work", "per_human_hour"),
    ]
    variable = [
        (spent.queries, stated.per_1000_queries, 1000, "query", "queries", "per_1000_queries"),
        (spent.cpu_hours, stated.per_cpu_hour, 1, "processor hour", "processor hours", "per_cpu_hour"),
    ]
    once, terms, missing = _summed(rows)
    more, further, absent = _summed(variable)
    fixed, each = (once, more) if spent.each else (once + more, 0.0)
    # Nobody states the price of computing or of hours that hardly count; what would be asked for is what was really used.
    unstated = tuple(name for name in (*missing, *absent) if name not in ("per_cpu_hour", "per_human_hour"))
    return Paid(fixed, each, (*terms, *further), unstated)


_Row = tuple[float | None, float | None, int, str, str, str]


def _access(spent: Spent, prices: Prices, principal: Principal | None) -> list[_Row]:
    """The first account at what it costs to become this principal, the others at what further ones cost."""
    own = principal.access_cost if principal else None
    further = principal.sybil_cost if principal else None
    first = own if own is not None else prices.per_account
    rest = further if further is not None else prices.per_account
    rows: list[_Row] = [] if first is None else [(1, first, 1, "access", "access", "")]
    return [*rows, (spent.accounts - 1, rest, 1, "further account", "further accounts", "per_account")]


def _summed(rows: Iterable[_Row]) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    total, terms, missing = 0.0, [], []
    for amount, price, per, one, many, name in rows:
        if price is None and amount:
            missing.append(name)
        elif price is not None and amount is not None and (amount or name == "per_1000_queries"):
            total += amount / per * price
            counted = f"{amount:,.2f}".rstrip("0").rstrip(".")
            terms.append(f"{counted} {one if amount == 1 else many} at {price:,.2f}" + (f" per {per:,}" if per > 1 else ""))
    return total, tuple(terms), tuple(missing)


def margin(gain: float | None, chance: float, wanted: int | None, paid: Paid) -> Margin | Literal[""]:
    """What the attacker expects to gain over what it pays, for as many successes as it wants (1 where not stated).

    Args:
        gain: Money for each success; None: nobody stated it, and there is no margin.
        chance: How often an attempt succeeds, as measured.
    """
    if gain is None or paid.total is None:
        return ""
    successes = wanted or 1
    cost = paid.once + paid.each * successes
    ratio = math.inf if cost <= 0 else gain * chance * successes / cost
    return "profitable" if ratio > PROFITABLE else "uneconomic" if ratio < UNECONOMIC else "marginal"
