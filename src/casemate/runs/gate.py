"""The gate: rules of a policy against assessments, their baseline and what was decided. Pure; no clock, no files.

A rule that cannot be judged (no baseline, no store) says so. It stops a change only where the policy file asks for it by
name: then the gate could not tell.
"""

from __future__ import annotations

import datetime
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.disposition import Disposition
from ..core.errors import Problem
from ..core.evidence import Status, plain
from ..core.finding import SEVERITIES, Assessment, Finding, severity
from ..threats.dispositions import MAX_DAYS, orphans
from .changes import Change, compare, queries_interval
from .disposed import apply, money, orphaned, threat_ids, uncovered
from .gate_policy import RULES, UNTOLD, Policy, Then
from .untold import RULE, by_id, undecided

_UNMEASURED = (Status.UNTESTED, Status.CLAIMED, Status.STALE, Status.ERROR, Status.INCONCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One rule that was not met: by what, why, and what to do about it."""

    rule: str
    then: Then
    system: str
    what: str
    why: str
    do: str
    place: tuple[str, int] = ("", 0)
    stub: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The outcome of a gate.

    Args:
        objections: By rule, failures first.
        unjudged: Rules that could not be judged, with the reason; of those that the policy names to fail, the code is 2.
            Of `UNTOLD` it is 2 unless the policy names them to warn.
        statuses: How many threats stand at what: a gate that passes says what it passed on.
    """

    objections: tuple[Objection, ...]
    unjudged: tuple[tuple[str, str], ...]
    statuses: Mapping[str, int]
    code: int

    @property
    def stubs(self) -> tuple[str, ...]:
        """Entries to paste into a dispositions file, one for each threat; to be filled in."""
        return tuple(dict.fromkeys(o.stub for o in self.objections if o.stub))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "code": self.code,
            "statuses": dict(self.statuses),
            "objections": [plain(o) for o in self.objections],
            "unjudged": [{"rule": rule, "reason": reason} for rule, reason in self.unjudged],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a gate is asked.

    Args:
        pairs: Each assessment with its baseline, or with None.
        described: What the descriptions say now, by name of the system; evidence that was made for another is stale.
            None: no description was given.
        missing: Names of systems that the baseline has, and what is judged does not.
        citations: What `casemate taxonomy check` found.
        open_since: By (system, threat): since when stored runs show it broken without a gap. None: there is no store.
    """

    pairs: Sequence[tuple[Assessment, Assessment | None]]
    dispositions: Sequence[Disposition]
    today: datetime.date
    policy: Policy = field(default_factory=Policy)
    described: Mapping[str, Assessment] | None = None
    missing: Sequence[str] = ()
    citations: Sequence[Problem] = ()
    open_since: Mapping[tuple[str, str], datetime.date] | None = None


def gate(question: Question) -> Ruling:
    """Judge every rule of the policy.

    Raises:
        BadSystem: Two patterns of the dispositions fit one threat, and neither is the more specific.
    """
    every = [id for assessment, _ in question.pairs for id in threat_ids(assessment)]
    ruled = [(apply(now, question.dispositions, question.today, elsewhere=every), old) for now, old in question.pairs]
    found = [objection for now, old in ruled for objection in _of_one(question, now, old)]
    found += _of_all(question, every)
    kept = [o for o in found if o.then != "ignore"]
    order = tuple(RULES)
    kept.sort(key=lambda o: (o.then != "fail", order.index(o.rule), o.system, o.what))
    untold = (*_nothing(question), *_others(question), *(u for now, old in ruled for u in _untold(question, now, old)))
    unjudged = (*(u for u in untold if question.policy[u[0]].then != "ignore"), *_unjudged(question))
    failed = any(o.then == "fail" for o in kept)
    blind = any(_asked_for(question.policy, rule) for rule, _ in unjudged)
    statuses = Counter(str(f.status) for assessment, _ in question.pairs for f in assessment.findings)
    return Ruling(objections=tuple(kept), unjudged=unjudged, statuses=statuses, code=1 if failed else 2 if blind else 0)


def _untold(question: Question, now: Assessment, old: Assessment | None) -> Iterator[tuple[str, str]]:
    yield from undecided(now, old, (question.described or {}).get(now.name))
    for why in uncovered(now, question.dispositions, question.today):
        yield RULE, why


def _asked_for(policy: Policy, rule: str) -> bool:
    return policy[rule].then == "fail" and (policy[rule].stated or rule in UNTOLD)


def _of_one(question: Question, now: Assessment, baseline: Assessment | None) -> Iterator[Objection]:
    say = _Speaker(question.policy, now.name, question.today)
    for finding in now.findings:
        yield from _graded(say, finding)
        yield from _decision(say, finding)
        yield from _open(say, finding, question)
    if baseline is not None:
        by = {f.threat: f for f in now.findings}
        for change in compare(baseline, now).threats:
            yield from _changed(say, change, by)
    yield from _stale(say, now, (question.described or {}).get(now.name))
    yield from _unknown(say, now)


@dataclass(frozen=True, slots=True)
class _Speaker:
    """Makes objections of one system."""

    policy: Policy
    system: str
    today: datetime.date

    def __call__(
        self, rule: str, what: str, why: str, do: str, *, place: tuple[str, int] = ("", 0), about: Finding | None = None
    ) -> Objection:
        where = place if about is None else (about.file, about.line)
        text = "" if about is None else stub(about, self.today)
        then = self.policy[rule].then
        return Objection(rule=rule, then=then, system=self.system, what=what, why=why, do=do, place=where, stub=text)


def _stands(finding: Finding) -> bool:
    return finding.disposed is not None and finding.disposed.state == "active"


def _reached(grade: str, limit: Any) -> bool:
    return grade in SEVERITIES[:4] and SEVERITIES.index(grade) <= SEVERITIES.index(str(limit))


def _grade(finding: Finding) -> str:
    """The severity of a break. One that a report states in no known word is worked out again: a break is never `none`."""
    stated = (finding.risk.severity if finding.risk else "none", finding.severity)
    return next((one for one in stated if one in SEVERITIES[:4]), severity(finding.impact, Status.BROKEN, finding.cost))


def _mitigate(finding: Finding) -> str:
    """What can be done against a threat: the controls that exist, else what its rule advises."""
    if finding.mitigations:
        named = ", ".join(finding.mitigations)
        return f"mitigate it ({named}{'; casemate harden tries them' if finding.tests else ''}), or decide"
    advised = str(finding.advice[0].get("do", "")).strip().rstrip(".") if finding.advice else ""
    return f"{advised}; or decide" if advised else "change the facts that make it (casemate threats --why), or decide"


def _graded(say: _Speaker, finding: Finding) -> Iterator[Objection]:
    """Severity that was measured, and severity that is only assumed, each by its own rule."""
    if _stands(finding):
        return
    if finding.status is Status.BROKEN:
        grade = _grade(finding)
        if _reached(grade, say.policy["severity_at_least"].at):
            cost = f", {finding.cost}" if finding.cost and finding.cost.said else ""
            why = f"broken, severity {grade} (impact {finding.impact}{cost})"
            yield say("severity_at_least", finding.threat, why, _mitigate(finding), about=finding)
    elif finding.status in _UNMEASURED:
        risk = finding.risk
        # Where no risk was worked out, a break is taken to be cheap: what is not measured is not thereby mild.
        grade = risk.severity if risk and risk.severity in SEVERITIES[:4] else severity(finding.impact, Status.BROKEN, None)
        if _reached(grade, say.policy["prior_severity_at_least"].at):
            why = f"{finding.status}, severity {grade} by the catalogue's prior (impact {finding.impact})"
            do = "measure it (casemate assess), or decide" if finding.tests else _mitigate(finding)
            yield say("prior_severity_at_least", finding.threat, why, do, about=finding)


def _decision(say: _Speaker, finding: Finding) -> Iterator[Objection]:
    held = finding.disposed
    if held is None or held.state == "active":
        return
    one = held.disposition
    word = f"{one.decision} by {one.owner}: {held.why}"
    do = "do the fix, or decide again" if one.decision == "fix" else "decide again, with a new day"
    if held.state == "violated" and one.decision == "false_positive":
        do = "a threat that was shown to work is no false positive: mitigate it, or decide otherwise"
    elif held.state == "violated":
        do = "it costs less, or works more often, than was accepted: mitigate it, or decide again with what is known now"
    yield say(held.state, finding.threat, word, f"{do} ({one.place[0]}:{one.place[1]})", place=one.place)


def _open(say: _Speaker, finding: Finding, question: Question) -> Iterator[Objection]:
    most = say.policy["max_open_days"].at
    if finding.status is not Status.BROKEN:
        return
    since = (question.open_since or {}).get((say.system, finding.threat))
    word = "broken in every stored run since"
    held = finding.disposed
    if held is not None and held.disposition.decision != "fix":
        return  # somebody decided to live with it, until a day
    if held is not None and held.disposition.made is not None and (since is None or held.disposition.made < since):
        since, word = held.disposition.made, "to be fixed since"
    if since is not None and (days := (question.today - since).days) > most:
        why = f"{word} {since}: {days} days, more than {most:g}"
        yield say("max_open_days", finding.threat, why, "fix it, or decide", about=None if held else finding)


def _changed(say: _Speaker, change: Change, by: Mapping[str, Finding]) -> Iterator[Objection]:
    now = by.get(change.threat)
    if now is None:
        return
    held = now.disposed.disposition if now.disposed is not None and _stands(now) else None
    if change.category in ("new", "replaced") and not by_id(held):
        rule = "replaced" if change.category == "replaced" else "new_without_disposition"
        wide = f" (the pattern {held.threat} does not answer for what is new)" if held is not None else ""
        yield say(rule, now.threat, change.because + wide, _mitigate(now), about=now)
    if held is not None:
        return
    if change.category == "regressed" or (change.category == "moved" and change.worse):
        do = "look at the changed facts (casemate diff), mitigate it, or decide"
        yield say("regressed", now.threat, change.because, do, about=now)
    elif change.category == "lost":
        yield say("stale_evidence", now.threat, change.because, "run casemate assess again", place=(now.file, now.line))
    dropped = change.before is not None and _drop(change.before, now)
    if dropped and dropped[0] >= say.policy["cost_drop_percent"].at:
        why = f"a break costs {dropped[0]:.0f} % less: {dropped[1]}"
        yield say("cost_drop_percent", now.threat, why, "look at what changed (casemate diff)", about=now)


def _drop(before: Finding, now: Finding) -> tuple[float, str] | None:
    """By how many percent a break became cheaper, and the figures; None where it did not, or stays within its interval."""
    if before.status is not Status.BROKEN or now.status is not Status.BROKEN:
        return None
    pair = [f.cost.queries if f.cost else None for f in (before, now)]
    unit = "queries"
    if pair[0] is None or pair[1] is None:
        pair, unit = [money(f)[0] for f in (before, now)], money(now)[1]
    else:
        old, new = queries_interval(before), queries_interval(now)
        if old and new and not (new[1] < old[0]):
            return None
    if not pair[0] or pair[1] is None or pair[1] >= pair[0]:
        return None
    drop = 100.0 if math.isinf(pair[0]) else 100 * (pair[0] - pair[1]) / pair[0]
    return drop, f"{pair[0]:,.10g} -> {pair[1]:,.10g} {unit}".rstrip()


def _stale(say: _Speaker, now: Assessment, described: Assessment | None) -> Iterator[Objection]:
    do = "run casemate assess again"
    for finding in now.findings:
        if finding.status is Status.STALE:
            place = (finding.file, finding.line)
            yield say("stale_evidence", finding.threat, finding.reason or "its target has changed since", do, place=place)
    if described is None or described is now:
        return
    was, current = ({f.threat: f for f in a.findings} for a in (now, described))
    hidden = {h.threat for a in (now, described) for h in a.hidden}
    for id in sorted({*was, *current} - hidden):
        why = _differs(was.get(id), current.get(id))
        if why:
            known = current.get(id) or was[id]
            yield say("stale_evidence", id, why, do, place=(known.file, known.line))


def _differs(was: Finding | None, current: Finding | None) -> str:
    """How the description says something else of a threat than when the evidence was made."""
    if was is None:
        return "the description has this threat now; the evidence does not know it"
    if current is None:
        return "the description no longer has this threat"
    if Status.QUESTION in (was.status, current.status):
        return ""  # a measured fact may have settled what the description alone leaves open
    old, new = _facts(was), _facts(current)
    changed = [f"{path}: {old.get(path, 'not stated')} -> {new.get(path, 'not stated')}" for path in sorted({*old, *new})
               if old.get(path) != new.get(path) and "(measured)" not in old.get(path, "")]  # fmt: skip
    return f"the description has changed since: {'; '.join(changed)}" if changed else ""


def _facts(finding: Finding) -> dict[str, str]:
    """The facts that made a threat, by path: value and, where it is not simply stated, source."""
    held = [str(fact).partition(" = ") for fact in finding.adversary.get("facts", ())]
    return {path: value.removesuffix(" (asserted)") for path, _, value in held}


def _unknown(say: _Speaker, now: Assessment) -> Iterator[Objection]:
    for question in now.questions:
        impact = question.get("impact")
        if not isinstance(impact, int) or impact >= 4:  # whose weight is not known may be a grave one
            threats = question.get("threats")
            waiting = ", ".join(map(str, threats)) if isinstance(threats, list | tuple) else ""
            why = f"{question.get('text', '')} Waiting: {waiting}".strip()
            yield say("unknown_in_critical", str(question.get("field", "")), why, "state the fact in the description")


def _of_all(question: Question, every: Sequence[str]) -> Iterator[Objection]:
    say = _Speaker(question.policy, "", question.today)
    for one, near in orphans(question.dispositions, every).items():
        text = orphaned(one, near).partition(": ")[2]
        yield say("orphaned", one.threat, text, "correct the id, or take the entry out", place=one.place)
    most = question.policy["max_days"].at
    for one in question.dispositions:
        start = one.made or question.today
        if (days := (one.expires - start).days) > most:
            why = f"{one.decision} by {one.owner} from {start} until {one.expires}: {days} days, more than {most:g}"
            yield say("max_days", one.threat, why, "decide for a shorter time, or change max_days of the policy", place=one.place)
    for problem in question.citations:
        hint = problem.suggestion or "correct the citation"
        yield say("taxonomy", problem.key, problem.message, hint, place=(problem.file, problem.line))


def _nothing(question: Question) -> Iterator[tuple[str, str]]:
    if not question.pairs:
        yield "nothing_judged", "there is no system in it"
    for now, _ in question.pairs:
        there = {f.status for f in now.findings} - {Status.NOT_APPLICABLE}
        if not there:
            yield "nothing_judged", f"{now.name} has no threat: the description may be empty, or the report cut short"
        elif there == {Status.QUESTION}:
            yield "nothing_judged", f"every threat of {now.name} is undecided: answer its questions (casemate threats)"


def _others(question: Question) -> Iterator[tuple[str, str]]:
    """Baselines and descriptions that are of something else."""
    for now, old in question.pairs:
        # Two descriptions may be two variants of one system; what a report was made of cannot be looked up.
        if old is not None and old.name != now.name and (old.system is None or now.system is None):
            yield "same_system", f"the baseline is of {old.name}, not of {now.name}"
        if question.described is not None and now.name not in question.described:
            held = ", ".join(question.described) or "no system"
            yield "same_system", f"--description is of {held}, not of {now.name}: whether evidence is stale is not known"
    for name in question.missing:
        yield "same_system", f"the baseline has {name}; what is judged does not"


def _unjudged(question: Question) -> Iterator[tuple[str, str]]:
    judged = {rule for rule in RULES if question.policy[rule].then != "ignore"}
    alone = [a.name for a, baseline in question.pairs if baseline is None]
    for rule in ("new_without_disposition", "replaced", "regressed", "cost_drop_percent"):
        if rule in judged and alone:
            yield rule, f"no --baseline for {', '.join(alone)}"
    if "max_open_days" in judged and question.open_since is None:
        yield "max_open_days", "no --store with earlier runs; promised fixes are judged by the day they were made"


def stub(finding: Finding, today: datetime.date, days: int = MAX_DAYS // 2) -> str:
    """An entry for a dispositions file that the reader refuses until reason and owner are filled in."""
    queries = finding.cost.queries if finding.cost and finding.status is Status.BROKEN else None
    lines = [
        f"  - threat: {json.dumps(finding.threat)}",
        "    decision: accept  # fix, accept, transfer, avoid or false_positive",
        "    reason:",
        "    owner:",
        f"    made: {today}",
        f"    expires: {today + datetime.timedelta(days)}",
    ]
    if queries and math.isfinite(queries):
        lines.append(f"    conditions: {{queries_floor: {math.floor(queries)}}}")  # rounded up, it would be violated at once
    return "\n".join(lines)


def first_seen(runs: Iterable[tuple[Assessment, datetime.date]]) -> dict[tuple[str, str], datetime.date]:
    """Since when each threat is broken in every run of its system, the newest included. Runs come oldest first."""
    since: dict[tuple[str, str], datetime.date] = {}
    for assessment, when in runs:
        broken = {(assessment.name, f.threat) for f in assessment.findings if f.status is Status.BROKEN}
        kept = {key: date for key, date in since.items() if key[0] != assessment.name or key in broken}
        since = {**dict.fromkeys(broken, when), **kept}
    return since
