"""The plan: which cells an assessment runs, what each will cost, and what is left out and why. Pure, and before any call.

A cell is one attack by one adversary on one shard of rows (or on the whole set). The plan fixes the shards, so that one
worker or many make identical evidence.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.adversary import Adversary, Need
from ..core.attack import attacks, parameters, unfitting
from ..core.case import Poison
from ..core.constraint import Ball
from ..core.errors import UsageError
from ..core.identity import hash_file, hash_of
from ..core.sequences import Text
from ..core.target import count
from ..judges.evade import VOTES
from .bench import Bench, supply_facts, white_box_reason
from .health import FEW, UNBOUNDED_QUERIES
from .versions import versions

SHARD = 50  # rows of a stateless shard: two workers share a hundred rows evenly
BASELINE = "baseline"
STAND_INS = ("evasion.transfer_surrogate", "evasion.transfer_similar")
PROBES = 2 * FEW + 4 * (33 + 26)  # rows of the health checks that look at slopes
AGAIN = 65 + FEW  # rows of those that look at claims and answers again
CURVE = ("evasion.fmn", 2.0)  # the attack behind a security curve, and how far the curve goes, in radii


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
    },
)  # fmt: skip
STANDARD = Profile(name="standard")
PROFILES = {"quick": QUICK, "standard": STANDARD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One unit of work. `key` is None where the target cannot be verified: such a cell is never resumed."""

    key: str | None
    label: str
    component: str
    attack: str
    params: dict[str, Any]
    adversary: Adversary
    case: str
    rows: tuple[int, int]
    scale: float
    seed: int
    calls: float  # model rows, at most
    queries: int  # of them, deployed queries
    threats: tuple[str, ...]
    group: str  # cells of one group make one Evidence
    checks: int = 0  # rows that the judge and the health checks send, at most: nobody's queries, but they are sent
    share: int | None = None  # this cell's part of a campaign's queries
    seek: str = "any"  # "nearest" for the security curve
    place: int = 0  # which of the bench's constraints


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cells in order, and what was left out."""

    cells: tuple[Cell, ...]
    untested: tuple[tuple[str, str, str], ...]  # threat id, attack id, reason

    @property
    def calls(self) -> float:
        return sum(cell.calls for cell in self.cells)

    @property
    def queries(self) -> int:
        return sum(cell.queries for cell in self.cells)

    @property
    def sent(self) -> int:
        """Rows that reach the endpoint, at most: the adversaries' queries, the judge and the health checks."""
        return self.queries + sum(cell.checks for cell in self.cells)


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


def plan(bench: Bench, threats: Iterable[Any], chosen: Profile, seed: int) -> Plan:
    """All cells of one component: every test of every threat that its adversary can run, and the baseline."""
    identity = bench.identity()
    chosen = _own(bench, chosen)
    cells: dict[str, Cell] = {}
    untested: list[tuple[str, str, str]] = []
    for threat in threats:
        adversary = _affordable(threat.adversary, chosen, bench)
        for id in threat.tests:
            attack, reason = _attack(id, bench, chosen, adversary)
            if attack is None:
                if reason:
                    untested.append((threat.id, id, reason))
                continue
            for cell in _cells(bench, attack, adversary, chosen, seed, identity):
                old = cells.get(cell.label)
                if old and (old.adversary.may, old.adversary.budget) != (adversary.may, adversary.budget):
                    mark = hash_of(adversary.may.names, str(adversary.budget))[:6]  # one name, another reach
                    cell = replace(cell, label=f"{cell.label}~{mark}", group=f"{cell.group}~{mark}")
                    old = cells.get(cell.label)
                cells[cell.label] = replace(cell, threats=(*(old.threats if old else ()), threat.id))
    evaded = [cell for cell in cells.values() if cell.case == "evade"]
    if evaded:
        for cell in _baseline(bench, chosen, seed, identity):
            cells[cell.label] = cell
    return Plan(cells=tuple(cells.values()), untested=tuple(untested))


def _own(bench: Bench, chosen: Profile) -> Profile:
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


def _affordable(adversary: Adversary, chosen: Profile, bench: Bench) -> Adversary:
    """The adversary with its campaign divided over the rows, and no more than the profile tries."""
    rows = max(1, min(chosen.rows, 1 if bench.data is None else count(bench.data.x)))
    budget = adversary.budget
    each = chosen.queries_per_row if budget.queries is None else min(chosen.queries_per_row, max(1, budget.queries // rows))
    return replace(adversary, budget=replace(budget, queries_per_row=each))


def _attack(id: str, bench: Bench, chosen: Profile, adversary: Adversary) -> tuple[Any, str]:
    """The attack with its parameters, or why it cannot be run."""
    kind = attacks.get(id)
    reason = _why_not(kind.info, bench, adversary)
    if reason is not None:
        return None, reason
    wished = _checked(id, chosen.params.get(id, {}))
    if "settings" in kind.__dataclass_fields__:  # a suite hands on what is wished of its stages
        others = {other: _checked(other, values) for other, values in sorted(chosen.params.items()) if other != id}
        wished["settings"] = tuple((other, tuple(sorted(values.items()))) for other, values in others.items())
    return kind(**wished), ""


def _checked(id: str, wished: dict[str, Any]) -> dict[str, Any]:
    """Parameters of an attack from a description or a profile, or what is wrong with them."""
    kind = attacks.get(id)
    known = set(kind.__dataclass_fields__)
    if strange := set(wished) - known:
        names = ", ".join(sorted(known)) or "none"
        raise UsageError(f"target.attacks.{id}: {', '.join(sorted(strange))} is no parameter of it; it has {names}")
    if unfit := unfitting(kind, wished):
        raise UsageError(f"target.attacks.{id}: {unfit}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in wished.items()}


def _why_not(info: Any, bench: Bench, adversary: Adversary) -> str | None:
    """Why an attack cannot be run here; None where it can, an empty string where it simply is not meant for this."""
    if info.case == "smuggle":
        if info.id != "supply.probe" and bench.artifact is None:
            return "no artifact is bound to the description"
        return None
    if bench.target is None:
        return "no target is bound to the description"
    if info.case == "copy" and Need.ARTIFACT in adversary.may:
        return "whoever holds the model need not copy it"
    if Need.ARTIFACT in adversary.may and info.id in STAND_INS:
        return "whoever holds the model needs no stand-in"
    missing = info.needs & ~adversary.may
    if missing:
        return f"needs {', '.join(missing.names)}, which {adversary.name} does not hold"
    if Need.GRADIENT in info.needs and Need.PARENT not in info.needs and white_box_reason(bench.target):
        return white_box_reason(bench.target)
    if Need.STRUCTURE in info.needs and Need.STRUCTURE not in bench.target.offers:
        return "white box granted, the adapter shows no structure"
    if Need.PARENT in info.needs and bench.parent is None:
        return "a public parent is stated, but none is bound to attack with"
    if bench.data is None:
        return "no data is bound to the description"
    if info.modality and bench.modality not in info.modality:
        return ""
    if info.case == "evade" and not bench.constraints:
        return "no constraint is bound: say in target.within what a change may be"
    if info.case == "evade" and _place(info, bench) is None:
        stated = ", ".join(_kind(one) for one in bench.constraints)
        return f"changes inputs within {_wanted(info)}; stated is {stated}. State another under target.also"
    if info.case in ("poison", "infer") and bench.recipe is None:
        return "no recipe"
    return None


def _cells(bench: Bench, attack: Any, adversary: Adversary, chosen: Profile, seed: int, identity: str | None) -> list[Cell]:
    info = attack.info
    if info.case != "evade":
        return [_keyed(bench, _cell(bench, attack, adversary, chosen, seed, (0, 0), 1.0), identity)]
    assert bench.data is not None
    total = min(chosen.rows, count(bench.data.x))
    stateful = any(service.start is not None for service in bench.services) and Need.ARTIFACT not in adversary.may
    whole = stateful or info.scope == "set"
    found = [
        _cell(bench, attack, adversary, chosen, seed, span, 1.0)
        for span in spans(total, total if whole else SHARD)
    ]
    found = _shared(found, adversary.budget.queries, total)
    if info.id == "evasion.pgd":
        found += _curve(bench, attack, adversary, chosen, seed)
    return [_keyed(bench, cell, identity) for cell in found]


def _curve(bench: Bench, attack: Any, adversary: Adversary, chosen: Profile, seed: int) -> list[Cell]:
    """The cell of the security curve: the smallest changes, out to twice the radius, on some of the rows."""
    id, scale = CURVE
    assert bench.data is not None
    if id not in attacks or _place(attacks.get(id).info, bench) is None:
        return []
    few = min(chosen.curve_rows, count(bench.data.x))
    params = {k: v for k, v in chosen.params.get(id, {}).items() if k in attacks.get(id).__dataclass_fields__}
    cell = _cell(bench, attacks.get(id)(**params), adversary, chosen, seed, (0, few), scale)
    group = f"{bench.component}/{attack.info.id}/{adversary.name}/curve"
    return [replace(cell, seek="nearest", group=group, label=f"{group}/0-{few}")]


def _place(info: Any, bench: Bench) -> int | None:
    """Which of the stated constraints an attack can work within: the first."""
    for place, within in enumerate(bench.constraints):
        if isinstance(within, Text) and not set(getattr(attacks.get(info.id), "edits", within.kinds)) & set(within.kinds):
            continue
        if "array" not in info.modality or bench.modality != "array" or "*" in info.within:
            return place  # of other modalities the constraint proposes the changes itself
        if type(within).__name__ in info.within and (not isinstance(within, Ball) or within.norm in info.norms):
            return place
    return None


def _kind(within: Any) -> str:
    return f"a {type(within).__name__}" + (f" of {within.norm}" if isinstance(within, Ball) else "")


def _wanted(info: Any) -> str:
    norms = f" of {', '.join(info.norms)}" if "Ball" in info.within else ""
    return f"a {' or '.join(info.within)}{norms}"


def _shared(cells: list[Cell], queries: int | None, rows: int) -> list[Cell]:
    """The campaign's queries divided over the cells by their rows: a worker knows nothing of what another one spent."""
    if queries is None:
        return cells
    return [replace(c, share=share(queries, c.rows, rows), queries=min(c.queries, share(queries, c.rows, rows))) for c in cells]


def share(queries: int, span: tuple[int, int], rows: int) -> int:
    """The part of `queries` that the rows of `span` may ask; over all spans exactly `queries`."""
    return queries * span[1] // rows - queries * span[0] // rows


def spans(total: int, size: int) -> list[tuple[int, int]]:
    """Row ranges of at most `size`."""
    return [(start, min(start + size, total)) for start in range(0, total, max(1, size))]


def _baseline(bench: Bench, chosen: Profile, seed: int, identity: str | None) -> list[Cell]:
    """Random changes on the same rows: what the attacks are compared with. The judge's calls, nobody's queries."""
    assert bench.data is not None
    total = min(chosen.rows, count(bench.data.x))
    nobody = Adversary(name="nobody")
    return [
        _keyed(bench, Cell(
            key=None, label=f"{bench.component}/{BASELINE}/{span[0]}-{span[1]}", component=bench.component, attack=BASELINE,
            params={"draws": 8}, adversary=nobody, case="evade", rows=span, scale=1.0, seed=seed,
            calls=9.0 * _votes(bench) * (span[1] - span[0]), queries=0, threats=(), group=f"{bench.component}/{BASELINE}",
            checks=9 * _votes(bench) * (span[1] - span[0]),
        ), identity)
        for span in spans(total, SHARD)
    ]  # fmt: skip


def _cell(
    bench: Bench, attack: Any, adversary: Adversary, chosen: Profile, seed: int, span: tuple[int, int], scale: float,
) -> Cell:  # fmt: skip
    info, params = attack.info, parameters(attack)
    group = f"{bench.component}/{info.id}/{adversary.name}" + (f"/x{scale:g}" if scale != 1 else "")
    size = max(1, span[1] - span[0])
    each = _calls(attack, adversary) if info.case == "evade" else float(_asks(attack, bench, chosen, adversary))
    sizes = {name: getattr(chosen, name) for name in ("seeds", "members", "flood", "asks")}
    wide = sizes if info.case != "evade" else {}
    checks = _checks(bench, attack, each, size, scale) if info.case == "evade" else _judged(bench, info.case, chosen)
    asked = int(min(each, _cap(adversary)) * size) if info.case == "evade" else int(each)
    return Cell(
        key=None, label=f"{group}/{span[0]}-{span[1]}", component=bench.component, attack=info.id,
        params=params | wide, adversary=adversary, case=info.case, rows=span, scale=scale, seed=seed,
        calls=each * size + checks, queries=0 if Need.ARTIFACT in adversary.may else asked,
        threats=(), group=group, checks=checks, place=_place(info, bench) or 0 if info.case == "evade" else 0,
    )  # fmt: skip


def _votes(bench: Bench) -> int:
    return VOTES if bench.target is not None and bench.target.random else 1


def _checks(bench: Bench, attack: Any, each: float, size: int, scale: float) -> int:
    """Rows of the judge (before and after) and, at the planned radius, of the health checks; at most."""
    judged = 2 * size * _votes(bench)
    if scale != 1.0:
        return judged
    inside = Need.GRADIENT in attack.info.needs or attack.info.scope == "cascade"
    slopes = PROBES + 3 * FEW * (int(each) + 1) if inside else 0
    free = FEW * (int(max(each, UNBOUNDED_QUERIES)) + 1) if isinstance(bench.within, Ball) else 0
    return judged + 20 + FEW + slopes + free + AGAIN + 2 * (int(each) + 1)


def _calls(attack: Any, adversary: Adversary) -> float:
    """Model rows per attacked row, at most, from the parameters alone."""
    return float(_cap(adversary) if attack.info.static_cost is None else attack.info.static_cost(attack))


def _asks(attack: Any, bench: Bench, chosen: Profile, adversary: Adversary) -> int:
    """Rows that an attack on the whole set asks, at most."""
    rows = {
        "copy": chosen.asks, "stall": chosen.flood, "infer": 2 * chosen.members + getattr(attack, "reference", 0),
    }.get(attack.info.case, 0)  # fmt: skip
    budget = adversary.budget.queries
    return rows if budget is None else min(rows, budget)


def _judged(bench: Bench, case: str, chosen: Profile) -> int:
    """Rows that the judge of a set asks: its own held-out data, and for poisoning again after every training."""
    size = 0 if bench.data is None else count(bench.data.x)
    fractions: tuple[float, ...] = Poison.__dataclass_fields__["fractions"].default  # type: ignore[assignment]
    trainings = chosen.seeds * (1 + 2 * len(fractions))
    return {"copy": size, "poison": size * trainings}.get(case, 0)


def _cap(adversary: Adversary) -> float:
    cap = adversary.budget.queries_per_row
    return float(cap) if cap is not None else 1000.0


def _keyed(bench: Bench, cell: Cell, identity: str | None) -> Cell:
    """The cell with the hash of everything that decides its outcome."""
    if identity is None:
        return cell
    names = sorted(cell.adversary.may.names)
    stated = bench.constraints[cell.place] if bench.constraints else None
    within = repr(stated) if isinstance(stated, Ball) or (stated is not None and " at 0x" not in repr(stated)) else None
    facts = supply_facts(bench, cell.adversary) if cell.case == "smuggle" else {}
    return replace(cell, key=hash_of(
        identity, cell.attack, cell.params, names, str(cell.adversary.budget), cell.share, cell.case, cell.rows, cell.scale,
        cell.seed, cell.seek, cell.place, within, facts, _source(cell.attack),
        versions(),
    ))  # fmt: skip


@functools.cache
def _source(attack: str) -> str:
    """The hash of the file an attack is written in: a plugin's, above all, has no version that is known here."""
    if attack == BASELINE:
        return ""
    file = getattr(sys.modules.get(attacks.get(attack).__module__), "__file__", None)
    return hash_file(Path(file)) if file else ""
