"""What was measured, as data: a rate with its interval, n, baseline, cost, health and verdict."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Flag, StrEnum
from typing import Any

import numpy as np

from .errors import need


class Verdict(StrEnum):
    """What one cell showed."""

    BROKEN = "broken"  # the goal was met; the baseline beside it says how often it is met without skill
    RESISTED = "resisted"  # not, within this budget, by a healthy attack
    INCONCLUSIVE = "inconclusive"  # not, but the attack was unhealthy: see the checks
    CERTIFIED = "certified"
    ERROR = "error"


class Status(StrEnum):
    """What a finding stands at."""

    BROKEN = "broken"
    RESISTED = "resisted"
    INCONCLUSIVE = "inconclusive"
    CERTIFIED = "certified"
    ERROR = "error"
    NOT_APPLICABLE = "not_applicable"
    QUESTION = "question"
    UNTESTED = "untested"
    MITIGATED = "mitigated"
    CLAIMED = "claimed"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval and how it was made."""

    low: float
    high: float
    method: str = "Clopper-Pearson"
    level: float = 0.95

    def __str__(self) -> str:
        return f"[{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True)
class Check:
    """One health check. `ok` is None where it could not be computed, and `detail` says why."""

    number: int
    name: str
    ok: bool | None
    detail: str = ""
    fatal: bool = True  # whether failing it, or not knowing, makes `resisted` into `inconclusive`
    applies: bool = True  # False where there is nothing to check, and `detail` says why


@dataclass(frozen=True, slots=True)
class Baseline:
    """What happens without the attack's skill: noise, imputation, a prior guess."""

    name: str
    rate: float
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What it cost the attacker: deployed-endpoint queries until half the rows break.

    Args:
        queries: None where fewer than half broke within the budget (censored at `censored_at`).
        accounts, days: What the whole campaign used: accounts that were let in, time on the endpoint's clock.
        blocked: Whether it was the endpoint's own limit that ended the campaign, not the attacker's budget.
        share: Rows broken by then, where that is fewer than half.
    """

    queries: float | None
    censored_at: float | None = None
    accounts: int = 1
    days: float | None = None
    gradients: float | None = None
    records: int | None = None
    money: float | None = None
    blocked: bool = False
    share: float | None = None

    @property
    def campaign(self) -> str:
        """Time and accounts beside the queries: `` over 30 days, 5 accounts``; nothing where neither was needed."""
        time = ""
        if self.days:
            whole = round(self.days)
            time = f" over {whole:,} {'day' if whole == 1 else 'days'}" if whole else f" over {24 * self.days:.2g} hours"
        return time + (f", {self.accounts:,} accounts" if self.accounts > 1 else "")

    @property
    def said(self) -> str:
        """In a few words; nothing where nothing was spent that has a name."""
        if self.records:
            return _amount(self.records, "record", "records")
        if self.queries is None:
            if not self.censored_at:
                return ""
            asked = _amount(self.censored_at, "query", "queries")
            if self.blocked:
                broken = "" if self.share is None else f", {100 * self.share:.0f} % broken"
                return f"blocked after {asked}{self.campaign}{broken}"
            return f"> {asked}{self.campaign}"
        return _amount(self.queries, "query", "queries") + (self.campaign if self.queries else "")

    def __str__(self) -> str:
        return self.said or "not shown"


def _amount(number: float, one: str, many: str) -> str:
    return f"{number:,.0f} {one if number == 1 else many}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The outcome of one attack by one adversary on one target.

    Args:
        rate: The family's measure, named by `measure` (share of rows broken, advantage, agreement, ...).
        rows: One entry per row and column name: ids, whether it was right at the start, broken, distance, queries, ...
        curves: Named curves as lists of points ``(x, y, low, high)``.
        claims: What the attacker handed in, as the judge saw it. Not part of the JSON.
    """

    attack: str
    params: dict[str, Any]
    adversary: str
    may: tuple[str, ...]
    budget: str
    target: str
    fingerprint: str | None
    case: str
    seed: int
    measure: str
    rate: float
    interval: Interval | None
    n: int
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    baseline: Baseline | None = None
    cost: Cost | None = None
    spent: dict[str, int] = field(default_factory=dict)
    health: tuple[Check, ...] = ()
    rows: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    papers: tuple[str, ...] = ()
    seconds: float = 0.0
    claims: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the claims, as JSON-ready values."""
        return {name: plain(getattr(self, name)) for name in self.__slots__ if name != "claims"}

    def digest(self) -> str:
        """A hash of all that must repeat: everything but measured time."""
        data = self.to_dict()
        data.pop("seconds")
        data["extra"] = timeless(data["extra"])
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def to_frame(self) -> Any:
        """Per-row results as a pandas DataFrame."""
        pandas = need("pandas", "sklearn", "to_frame")
        return pandas.DataFrame({k: v for k, v in self.rows.items() if np.ndim(v) == 1})

    @property
    def broken(self) -> bool:
        return self.verdict is Verdict.BROKEN

    def __str__(self) -> str:
        interval = f" {self.interval}" if self.interval else ""
        why = "".join(f"\n  {reason}" for reason in self.reasons)
        return f"{self.attack} by {self.adversary}: {self.verdict} · {self.measure} {self.rate:.3f}{interval}, n={self.n}{why}"


def timeless(value: Any) -> Any:
    """Without what was measured with a clock: keys that end in ``_seconds``."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not k.endswith("_seconds")}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """A value as JSON can hold it. Infinity and NaN become strings, so that the JSON is strict."""
    if isinstance(value, StrEnum | str | bool) or value is None:
        return str(value) if isinstance(value, StrEnum) else value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, datetime.date):
        return value.isoformat()
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Flag):  # it is made of itself, over and over
        return [str(member.name).lower() for member in value]
    if isinstance(value, set | frozenset):  # in an order that is the same in every process
        return sorted((plain(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    # The default repr holds an address, which no hash may depend on.
    named = value if hasattr(value, "__qualname__") else type(value)
    text = repr(value)
    return f"{named.__module__}.{named.__qualname__}" if " at 0x" in text else text
