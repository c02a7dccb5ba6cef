"""How much an assessment tries: the profiles, and what a description wishes of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..core.attack import attacks, unfitting
from ..core.errors import UsageError
from .bench import Bench


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much an assessment tries. Everything it cuts is printed as a budget.

    Args:
        rows: Rows attacked by each evasion attack.
        queries_per_row: Most deployed queries for each row, where the adversary's own budget is larger.
        params: Parameters by attack id.
        seeds: Training seeds of poisoning.
        members: Candidates of each kind for membership.
        flood: Rows a flood sends.
        asks: Most queries of an extraction.
        curve_rows: Rows of the security curve.
    """

    name: str
    rows: int = 100
    queries_per_row: int = 1000
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: int = 3
    members: int = 400
    flood: int = 5000
    asks: int = 1000
    curve_rows: int = 50


QUICK = Profile(
    name="quick", rows=30, queries_per_row=150, seeds=1, members=200, flood=2000, asks=300, curve_rows=20,
    params={
        "evasion.pgd": {"steps": 20}, "evasion.apgd_ce": {"steps": 30}, "evasion.square": {"steps": 150},
        "evasion.fmn": {"steps": 50}, "evasion.transfer_surrogate": {"epochs": 4}, "evasion.transfer_similar": {"epochs": 5},
        "poisoning.adaptive": {"trainings": 20},
    },
)  # fmt: skip
STANDARD = Profile(name="standard")
PROFILES = {"quick": QUICK, "standard": STANDARD}


def profile(budget: str) -> tuple[Profile, float | None]:
    """A profile by name, or the standard one with a deadline in seconds where a number of minutes is given."""
    if budget in PROFILES:
        return PROFILES[budget], None
    try:
        minutes = float(budget)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < 1e5:
        raise UsageError(f"--budget {budget!r} is not known; give quick, standard, or a number of minutes")
    return (STANDARD if minutes >= 2 else QUICK), minutes * 60


def own(bench: Bench, chosen: Profile) -> Profile:
    """The profile with the description's own wishes; a wish may differ by budget: ``rows: {quick: 10, standard: 30}``."""

    def pick(value: Any) -> Any:
        if isinstance(value, dict) and set(value) & set(PROFILES):
            return value.get(chosen.name, value.get("standard", next(iter(value.values()))))
        return value

    params = {k: dict(v) for k, v in chosen.params.items()}
    fields: dict[str, Any] = {}
    for key, value in bench.options.items():
        if "." in key:
            attacks.get(key)  # a slip in an id is named here, before it silently changes nothing
            params.setdefault(key, {}).update({name: pick(v) for name, v in dict(value).items()})
        elif key in Profile.__slots__:
            fields[key] = pick(value)
            if unfit := unfitting(Profile, {key: fields[key]}):
                raise UsageError(f"target.attacks of {bench.component!r}: {unfit}")
        else:
            known = ", ".join(Profile.__slots__)
            raise UsageError(f"target.attacks.{key} of {bench.component!r}: give an attack id, or one of {known}")
    return replace(chosen, params=params, **fields)
