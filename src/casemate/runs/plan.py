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
from ..core.attack import attacks, parameters
from ..core.constraint import Ball
from ..core.identity import hash_file, hash_of
from ..core.target import count
from ..judges.evade import VOTES
from .bench import Bench, supply_facts
from .choice import choose, place_for
from .health import FEW, UNBOUNDED_QUERIES
from .kinds import KINDS
from .profiles import Profile, own
from .versions import versions

SHARD = 50  # rows of a stateless shard: two workers share a hundred rows evenly
BASELINE = "baseline"
PROBES = 2 * FEW + 4 * (33 + 26)  # rows of the health checks that look at slopes
AGAIN = 65 + FEW  # rows of those that look at claims and answers again
CURVE = ("evasion.fmn", 2.0)  # the attack behind a security curve, and how far the curve goes, in radii


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


def plan(bench: Bench, threats: Iterable[Any], chosen: Profile, seed: int) -> Plan:
    """All cells of one component: every test of every threat that its adversary can run, and the baseline."""
    identity = _Marks(bench)
    chosen = own(bench, chosen)
    cells: dict[str, Cell] = {}
    untested: list[tuple[str, str, str]] = []
    for threat in threats:
        adversary = _affordable(threat.adversary, chosen, bench)
        for id in threat.tests:
            attack, reason = choose(id, bench, chosen, adversary)
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


def _affordable(adversary: Adversary, chosen: Profile, bench: Bench) -> Adversary:
    """The adversary with its campaign divided over the rows, and no more than the profile tries."""
    rows = max(1, min(chosen.rows, 1 if bench.data is None else count(bench.data.x)))
    budget = adversary.budget
    each = chosen.queries_per_row if budget.queries is None else min(chosen.queries_per_row, max(1, budget.queries // rows))
    return replace(adversary, budget=replace(budget, queries_per_row=each))


def _cells(bench: Bench, attack: Any, adversary: Adversary, chosen: Profile, seed: int, identity: _Marks) -> list[Cell]:
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
    if id not in attacks or place_for(attacks.get(id).info, bench) is None:
        return []
    few = min(chosen.curve_rows, count(bench.data.x))
    params = {k: v for k, v in chosen.params.get(id, {}).items() if k in attacks.get(id).__dataclass_fields__}
    cell = _cell(bench, attacks.get(id)(**params), adversary, chosen, seed, (0, few), scale)
    group = f"{bench.component}/{attack.info.id}/{adversary.name}/curve"
    return [replace(cell, seek="nearest", group=group, label=f"{group}/0-{few}")]


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


def _baseline(bench: Bench, chosen: Profile, seed: int, identity: _Marks) -> list[Cell]:
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
    checks = _checks(bench, attack, each, size, scale) if info.case == "evade" else KINDS[info.case].judged(bench, chosen)
    asked = int(min(each, _cap(adversary)) * size) if info.case == "evade" else int(each)
    return Cell(
        key=None, label=f"{group}/{span[0]}-{span[1]}", component=bench.component, attack=info.id,
        params=params | wide, adversary=adversary, case=info.case, rows=span, scale=scale, seed=seed,
        calls=each * size + checks, queries=0 if Need.ARTIFACT in adversary.may else asked,
        threats=(), group=group, checks=checks, place=place_for(info, bench) or 0 if info.case == "evade" else 0,
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
    """Rows that an attack on the whole set asks, at most: what its kind plans, as many times over as it says of itself."""
    info, budget = attack.info, adversary.budget.queries
    if info.case == "poison" and Need.LABEL not in info.needs:
        return 0  # it writes records and looks at nothing
    rows = KINDS[info.case].asks(bench, chosen) * (1 if info.static_cost is None else info.static_cost(attack))
    return rows if budget is None else min(rows, budget)


def _cap(adversary: Adversary) -> float:
    cap = adversary.budget.queries_per_row
    return float(cap) if cap is not None else 1000.0


@dataclass(slots=True)
class _Marks:
    """What the cells of a bench depend on. A control changes only the cells that can meet it: the others are not run again."""

    bench: Bench
    _known: dict[tuple[bool, bool], str | None] = field(default_factory=dict)

    def of(self, cell: Cell) -> str | None:
        """The identity for one cell: only who brings a file meets a pin, and who only writes records meets no endpoint."""
        blind = cell.case in _RETRAINED and not attacks.get(cell.attack).info.needs & _ANSWERS
        meets = (cell.case == "smuggle", not blind)
        if meets not in self._known:
            self._known[meets] = self.bench.identity(pin=meets[0], around=meets[1])
        return self._known[meets]


_RETRAINED = ("poison", "backdoor", "misread")  # judged on models that the recipe makes
_ANSWERS = Need.LABEL | Need.SCORE | Need.LOGIT | Need.SUBMIT


def _keyed(bench: Bench, cell: Cell, marks: _Marks) -> Cell:
    """The cell with the hash of everything that decides its outcome."""
    identity = marks.of(cell)
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
