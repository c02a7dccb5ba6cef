"""From the evidence of cells to ranked findings: one status for each threat, and the checks that need two attacks at once."""

from __future__ import annotations

import functools
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..core.attack import attacks
from ..core.evidence import Check, Cost, Evidence, Status, Verdict, plain
from ..core.finding import SEVERITIES, Finding
from ..core.risk import Risk
from ..core.system import System
from ..imports.opening import untaught
from ..judges.groups import rates
from ..judges.statistics import clopper_pearson
from ..threats.taxonomy import cited
from .api import evade_evidence
from .bench import Bench
from .cells import attack_of, built, error_of, setting_of
from .health.lines import AHEAD, line
from .kinds.kind import groups_in
from .part import Part, merge_rows
from .plan import BASELINE, Cell, Plan
from .risks import asking, gap, priced_cost, risk_of

Cut = tuple[str, str, str]
CURVE_POINTS = 16
AUDIT = "audit"  # the case whose records the owner plants


def evidence_of(
    bench: Bench, done: Plan, parts: dict[str, Part], absent: str = "the time ran out before it"
) -> tuple[dict[str, Evidence], list[Cut], dict[str, dict[str, Any]]]:
    """Evidence by ``threat id|attack``, what is absent (with the reason), and samples by the same key."""
    groups: dict[str, list[Cell]] = {}
    for cell in done.cells:
        groups.setdefault(cell.group, []).append(cell)
    base = _baseline_rows(groups, parts)
    found: dict[str, tuple[Evidence, list[Cell]]] = {}
    cut: list[Cut] = []
    samples: dict[str, dict[str, Any]] = {}
    for group, cells in groups.items():
        if cells[0].attack == BASELINE or cells[0].seek == "nearest":
            continue
        have = [parts[c.label] for c in cells if c.label in parts]
        if len(have) < len(cells):
            cut += [(threat, cells[0].attack, absent) for threat in cells[0].threats]
            continue
        found[group] = (_evidence(bench, cells, have, base), cells)
        shots = next((p.samples for p in have if len(p.samples.get("row", ()))), None)
        if shots:
            samples |= {f"{threat}|{cells[0].attack}": shots for threat in cells[0].threats}
    whole = _across({group: e for group, (e, _) in found.items()}, base)
    result: dict[str, Evidence] = {}
    for group, (_, cells) in found.items():
        curved = _security_curve(whole[group], group, groups, parts, bench)
        for threat in cells[0].threats:
            result[f"{threat}|{cells[0].attack}"] = curved
    return result, cut, samples


def _baseline_rows(groups: dict[str, list[Cell]], parts: dict[str, Part]) -> dict[str, Any] | None:
    for cells in groups.values():
        if cells[0].attack == BASELINE:
            have = [parts[c.label] for c in cells if c.label in parts and "error" not in parts[c.label].facts]
            return merge_rows(have) if have else None
    return None


def _evidence(bench: Bench, cells: list[Cell], parts: list[Part], base: dict[str, Any] | None) -> Evidence:
    cell, attack = cells[0], attack_of(cells[0])
    error = error_of(parts)
    if error:
        return _failed(bench, cell, error)
    if cell.case != "evade":
        from .sets import set_evidence

        name = bench.target.name if bench.target else bench.component
        mark = bench.target.fingerprint() if bench.target else None
        return _as_used(set_evidence(attack, cell.case, cell.adversary, name, mark, cell.seed, parts[0]), parts[0])
    case = built(bench, cell).case
    noise = None if base is None else (int(base["broken"].sum()), int(base["right"].sum()))
    evidence = evade_evidence(attack, case, setting_of(bench, cell), parts, noise)
    groups = groups_in(bench, case.x)
    if groups is None or evidence.verdict is Verdict.ERROR:
        return evidence
    right = np.asarray(evidence.rows["right"], bool)
    by_group = rates(np.asarray(evidence.rows["broken"], bool)[right], groups[right])
    return replace(evidence, extra={**evidence.extra, "by_group": plain(by_group)})


def _as_used(evidence: Evidence, part: Part) -> Evidence:
    """The evidence of a set with the time and the accounts that were used, not those that were granted."""
    if evidence.cost is None:
        return evidence
    days, accounts = part.facts.get("days"), int(part.facts.get("accounts", 1)) or 1
    return replace(evidence, cost=replace(evidence.cost, days=days or None, accounts=accounts))


def _failed(bench: Bench, cell: Cell, error: str) -> Evidence:
    """A cell that could not be finished: visible, never a pass."""
    return Evidence(
        attack=cell.attack, params=cell.params, adversary=cell.adversary.name, may=cell.adversary.may.names,
        budget=str(cell.adversary.budget), target=bench.target.name if bench.target else bench.component, fingerprint=None,
        case=cell.case, seed=cell.seed, measure="nothing", rate=0.0, interval=None, n=0, verdict=Verdict.ERROR, reasons=(error,),
    )  # fmt: skip


def _security_curve(
    evidence: Evidence, group: str, groups: dict[str, list[Cell]], parts: dict[str, Part], bench: Bench
) -> Evidence:
    """Add the share broken at every radius up to twice the stated one, from the smallest change found for each row.

    One run gives all points, so the curve cannot fall. A row that this attack broke at the stated radius counts from
    there on, even where the search for the smallest change missed it.
    """
    cells = groups.get(f"{group}/curve", [])
    have = [parts[c.label] for c in cells if c.label in parts and "error" not in parts[c.label].facts]
    if not have or len(have) < len(cells):
        return evidence
    rows = merge_rows(have)
    radius = bench.constraints[cells[0].place].radius  # type: ignore[attr-defined]
    fell = np.isin(rows["row"], _broken(evidence.rows))
    distance = np.where(fell, np.minimum(rows["distance"], radius), rows["distance"])[rows["right"]]
    if not len(distance):
        return evidence
    points = []
    for share in np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS:
        at = float(radius * cells[0].scale * share)
        hits = int((distance <= at * (1 + 1e-9)).sum())
        interval = clopper_pearson(hits, len(distance))
        points.append((at, hits / len(distance), interval.low, interval.high))
    found = distance[np.isfinite(distance)]
    quantiles = {f"{q:g}": float(np.quantile(found, q)) for q in (0.1, 0.25, 0.5, 0.75, 0.9)} if len(found) else {}
    nearer = sorted(map(int, rows["row"][rows["right"]][(rows["distance"][rows["right"]] <= radius) & ~fell[rows["right"]]]))
    said = f"rows {nearer[:8]} have a smaller change that {evidence.attack} did not find" if nearer else "every point of one run"
    evidence = _checked(evidence, (line(15, not nearer, said),))
    extra = evidence.extra | {"distances": {"attack": cells[0].attack, "n": len(distance), "found": len(found), **quantiles}}
    return replace(evidence, curves={**evidence.curves, "radius": points}, extra=extra)


def _across(found: dict[str, Evidence], base: dict[str, Any] | None) -> dict[str, Evidence]:
    """Checks 16 to 18: an attack that knows more must not do worse, row by row, than one that knows less, or than chance."""
    white = {g: e for g, e in found.items() if e.case == "evade" and _looked_inside(e)}
    if not white:
        return found
    strong = np.unique(np.concatenate([_broken(e.rows) for e in white.values()]))
    black = {e.attack: e for g, e in found.items() if e.case == "evade" and g not in white and e.verdict != Verdict.ERROR}
    missed = {name: _missing(_broken(e.rows), strong) for name, e in black.items()}
    detail = "; ".join(f"rows {rows[:8]} fall to {name} only" for name, rows in missed.items() if rows)
    lucky = [] if base is None else _missing(_broken(base), strong)
    rate = max(e.rate for e in white.values())
    ahead = [f"{e.attack} {e.rate:.2f} against {rate:.2f}" for e in black.values() if e.rate > rate + AHEAD]
    extra = (
        line(16, not detail, detail or f"compared with {', '.join(black) or 'no other'}"),
        line(17, not ahead, "; ".join(ahead) or "it does not"),
        line(18, not lucky, f"rows {lucky[:8]} fall to a random change only" if lucky else "none"),
    )
    return {g: _checked(e, extra) if g in white else e for g, e in found.items()}


def _looked_inside(evidence: Evidence) -> bool:
    return "gradient" in attacks.get(evidence.attack).info.needs.names or bool(evidence.spent.get("gradients"))


def _missing(rows: Any, strong: Any) -> list[int]:
    """Rows that fall here and to none of the strong."""
    return sorted(set(map(int, rows)) - set(map(int, strong)))


def _broken(rows: dict[str, Any]) -> Any:
    return np.asarray(rows["row"])[np.asarray(rows["broken"], bool)] if rows else np.zeros(0, int)


def _checked(evidence: Evidence, extra: Sequence[Check]) -> Evidence:
    """The evidence with more checks, and its verdict looked at again."""
    sick = tuple(f"check {c.number}, {c.name}: {c.detail}" for c in extra if c.fatal and c.ok is False)
    verdict = Verdict.INCONCLUSIVE if sick and evidence.verdict is Verdict.RESISTED else evidence.verdict
    new = {check.number for check in extra}
    kept = (check for check in evidence.health if check.number not in new)
    health = tuple(sorted((*kept, *extra), key=lambda c: c.number))
    return replace(evidence, health=health, verdict=verdict, reasons=(*evidence.reasons, *sick))


def collect(
    derivation: Any, system: System, evidence: dict[str, dict[str, Evidence]], untested: Sequence[Cut]
) -> tuple[Finding, ...]:
    """One finding for each threat that fired and each that waits for a fact, ranked. A large system has hundreds of
    thousands that wait, for few facts: what is the same for many of them is made once, and shared."""
    reasons: dict[str, list[str]] = {}
    for id, attack, reason in untested:
        reasons.setdefault(id, []).append(f"{attack}: {reason}")
    found = [_finding(t, system, evidence.get(t.target, {}), reasons.get(t.id, ())) for t in derivation.threats]
    ranked = sorted(found, key=_rank)
    ask = _Asking({question.path: question.text for question in derivation.questions})
    waiting = sorted(map(ask.finding, derivation.undecided), key=lambda f: (-f.impact, f.threat))
    first = bisect(ranked, _ORDER.index(Status.QUESTION), key=lambda f: _ORDER.index(f.status))  # nothing that fired waits
    return (*ranked[:first], *waiting, *ranked[first:])


_ORDER = (
    Status.BROKEN, Status.ERROR, Status.INCONCLUSIVE, Status.UNTESTED, Status.QUESTION, Status.CLAIMED, Status.STALE,
    Status.RESISTED, Status.MITIGATED, Status.CERTIFIED, Status.NOT_APPLICABLE,
)  # fmt: skip


def _rank(finding: Finding) -> tuple[Any, ...]:
    """Broken first: by severity, then by impact, then the cheapest. What nobody tested by severity, then by how little is
    known of its cost; the rest by what most needs a look."""
    cost = finding.cost.queries if finding.cost and finding.cost.queries is not None else float("inf")
    grave = (_ORDER.index(finding.status), SEVERITIES.index(finding.severity))
    return (*grave, *gap(finding), -finding.impact, cost, finding.threat)


def _finding(threat: Any, system: System, evidence: dict[str, Evidence], untested: Sequence[str]) -> Finding:
    own = [e for e in (evidence.get(f"{threat.id}|{test}") for test in threat.tests) if e is not None]
    own.sort(key=_decisive)
    status, reason = _status(threat, own, untested)
    status, reason = _claimed(threat, status, reason)
    cost, paid = priced_cost(system, threat, own, cheapest(own))
    risk = risk_of(system, threat, status, own, cost, paid, reason)
    adversary = threat.adversary
    return Finding(
        threat=threat.id, rule=threat.rule, title=threat.title, element=threat.element,
        principal=threat.principal or adversary.name,
        explanation=threat.explanation, impact=threat.impact, status=status, reason=reason,
        severity=risk.severity, risk=risk, cost=cost, evidence=tuple(own),
        adversary={
            "name": adversary.name, "principal": adversary.principal, "may": list(adversary.may.names),
            "budget": str(adversary.budget), "knowledge": list(adversary.knowledge), "derived_from": list(adversary.derived_from),
            "facts": [str(fact) for fact in threat.facts],
        },
        mappings=_mappings(threat.mappings), mitigations=_fitting(threat.mitigations, own), maturity=threat.maturity,
        advice=tuple(_advised(a) for a in threat.advice), claimed=threat.claimed, tests=threat.tests, checks=threat.checks,
        cell=threat.cell, stride=threat.stride, harm=threat.harm,
        file=threat.place[0], line=threat.place[1],
    )  # fmt: skip


def _fitting(mitigations: Sequence[str], own: Sequence[Evidence]) -> tuple[str, ...]:
    """The mitigations that touch what the break cost: nothing around the endpoint does, where it was never asked."""
    copied = any(e.broken and _on_copy(e) for e in own)
    return tuple(id for id in mitigations if not (copied and id.startswith("service.")))


def _on_copy(evidence: Evidence) -> bool:
    """Whether it was found on the attacker's own copy, without one query to the deployed endpoint."""
    held = evidence.case == "evade" or "artifact" in evidence.may
    cost = evidence.cost
    return held and cost is not None and not cost.queries and not cost.censored_at


def _mappings(references: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for taxonomy, name in _cited(references):
        found.setdefault(taxonomy, []).append(name)
    return found


@functools.lru_cache(1024)
def _cited(references: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    """The same for every threat of a rule."""
    return tuple((reference.taxonomy, cited(reference)) for reference in references)


def _advised(advice: Any) -> dict[str, Any]:
    return {"do": advice.do, "effect": advice.effect, "reference": _cited((advice.reference,))[0][1] if advice.reference else ""}


def _decisive(evidence: Evidence) -> tuple[Any, ...]:
    """The break first, and of several the one that cost least; then what needs a look.

    What the owner plants to audit is not the adversary's: it comes after the adversary's own of the same verdict.
    """
    order = {Verdict.BROKEN: 0, Verdict.ERROR: 1, Verdict.INCONCLUSIVE: 2, Verdict.RESISTED: 3, Verdict.CERTIFIED: 4}
    cost = evidence.cost.queries if evidence.cost and evidence.cost.queries is not None else float("inf")
    return (order[evidence.verdict], evidence.case == AUDIT, cost, -evidence.rate, evidence.attack)


def _status(threat: Any, own: Sequence[Evidence], untested: Sequence[str]) -> tuple[Status, str]:
    """Where a threat stands, and why; `untested` says of each attack that was not run why it was not."""
    if not own and not (threat.tests or threat.checks):
        return Status.UNTESTED, "nothing runs this threat yet"
    if not own and not threat.target:
        return Status.UNTESTED, "no system.target is bound"
    if not own:
        return Status.UNTESTED, "; ".join(untested) or "no test fits this kind of input"
    verdicts = {e.verdict for e in own}
    if Verdict.BROKEN in verdicts:
        return Status.BROKEN, ""
    for verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return Status(str(verdict)), next("; ".join(e.reasons) for e in own if e.verdict is verdict)
    return Status(str(own[0].verdict)), ""


def _claimed(threat: Any, status: Status, reason: str) -> tuple[Status, str]:
    """What nobody tested, but the description names controls against, is claimed: neither open nor resisted."""
    if status is not Status.UNTESTED or not threat.claimed:
        return status, reason
    return Status.CLAIMED, f"declared against it, not tested: {', '.join(threat.claimed)}; {reason}"


def cheapest(own: Sequence[Evidence]) -> Cost | None:
    """The cheapest measured break; where none reached half the rows, the one tried longest.

    An audit of the owner's has a price only where the adversary broke nothing by itself.
    """
    own = [e for e in own if e.case != AUDIT] if any(e.broken and e.case != AUDIT for e in own) else own
    costs = [e.cost for e in own if e.cost is not None and (e.broken or e.cost.queries is None)]
    reached = [c for c in costs if c.queries is not None]
    if reached:
        return min(reached, key=lambda c: c.queries if c.queries is not None else float("inf"))
    return max(costs, key=lambda c: c.censored_at or 0.0) if costs else None


@dataclass(slots=True)
class _Asking:
    """Makes the findings that wait for a fact. Those that wait for the same facts share their words."""

    texts: Mapping[str, str]  # by path of the question
    _said: dict[tuple[str, ...], str] = field(default_factory=dict)
    _risks: dict[tuple[int, tuple[str, ...]], Risk] = field(default_factory=dict)
    _nothing: dict[str, Any] = field(default_factory=dict)

    def finding(self, undecided: Any) -> Finding:
        paths = undecided.questions
        asks = self._said.get(paths)
        if asks is None:
            asks = self._said[paths] = "; ".join(self.texts.get(path, path) for path in paths)
        risk = self._risks.get((undecided.impact, paths))
        if risk is None:
            risk = self._risks[undecided.impact, paths] = asking(undecided, asks)
        return Finding(
            threat=undecided.id, rule=undecided.rule, title=undecided.title, element=undecided.element,
            principal=undecided.principal, explanation="", impact=undecided.impact, status=Status.QUESTION, reason=asks,
            risk=risk, adversary=self._nothing, mappings=self._nothing, cell=self._nothing,
        )  # fmt: skip


def question_of(question: Any) -> dict[str, Any]:
    """An open question as a report holds it."""
    return {"field": question.path, "text": question.text, "threats": list(question.threats), "impact": question.impact}


def blind_spots(system: System) -> tuple[str, ...]:
    """Where a short list means that little was said, not that little can happen."""
    if not system.principals:
        return ("no principal is described, so hardly anything can be derived: say who reaches the system (casemate init --ask)",)
    spoken = {row.principal for row in system.access} | {flow.from_ for flow in system.flows}
    silent = [p.id for p in system.principals if p.id not in spoken]
    told = [f"no access row and no flow speaks of {id}: nothing is derived for it; say what it can do" for id in silent]
    open_ = untaught(system)
    return (*told, *([f"{open_}; say who delivers its records (casemate init --ask)"] if open_ else ()))
