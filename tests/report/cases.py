"""Assessments to render: real runs of small nets, hand-made evidence, and a system whose every name is hostile."""

from __future__ import annotations

import datetime
import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import casemate as cm
from casemate.attacks.evasion.pgd import PGD
from casemate.core.disposition import Disposed, Disposition
from casemate.core.entities import (
    Access,
    Asset,
    Component,
    Endpoint,
    Flow,
    Model,
    Principal,
    RateLimit,
    Worth,
    Zone,
)
from casemate.core.evidence import Baseline, Check, Cost, Evidence, Interval, Status, Verdict
from casemate.core.fact import Truth
from casemate.core.finding import Assessment, Chain, Finding, Hidden, severity
from casemate.core.risk import Risk
from casemate.core.system import System
from casemate.judges.statistics import clopper_pearson, curve, median_time

HOSTILE = (
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b]0;title\x07",
    "[click](javascript:alert(1)) | `x` **b** <b>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\u0000",
    '=HYPERLINK("http://evil.example")',
    "[bold red]markup[/bold red]",
)
MAPPINGS = {
    "atlas": ["AML.T0043.001 Black-Box Optimization"],
    "nist": [{"id": "NISTAML.025", "name": "Black-box Evasion", "release": "AI 100-2e2025"}],
    "owasp_ml": ["ML01 Input Manipulation"],
    "cwe": ["CWE-1039 Inadequate Detection of Adversarial Input Perturbations"],
}


@functools.cache
def blobs(n: int = 48, side: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Small pictures of three kinds: a bright spot at one of three places."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    x = rng.uniform(0, 0.35, (n, 1, side, side)).astype(np.float32)
    for i, k in enumerate(y):
        x[i, 0, 2 + 3 * k : 5 + 3 * k, 3:9] += 0.5
    return torch.from_numpy(x.clip(0, 1)), torch.from_numpy(y)


@functools.cache
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    x, y = blobs()
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(80):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


@functools.cache
def real(radius: float = 0.2) -> Evidence:
    """PGD on the small net, for real."""
    x, y = blobs()
    return cm.run(PGD(), net(), cm.Evade(x, y, within=cm.Ball("linf", radius)), seed=0)


def made(
    attack: str = "evasion.square", *, median: float = 80, share: float = 0.9, cap: float = 1000, n: int = 100, **changes: Any
) -> Evidence:
    """Evidence with log-normal break times, as a black-box campaign has them."""
    rng = np.random.default_rng(len(attack))
    times = np.exp(rng.normal(np.log(median), 0.8, n)).round()
    fell = (times <= cap) & (rng.uniform(size=n) < share)
    times = np.where(fell, times, cap)
    hits = int(fell.sum())
    rows = {
        "row": np.arange(n), "right": np.ones(n, bool), "truth": rng.integers(0, 3, n), "label_before": rng.integers(0, 3, n),
        "label_after": rng.integers(0, 3, n), "broken": fell, "queries": times.astype(int),
    }  # fmt: skip
    health = (
        Check(2, "target untouched", True, "hash before and after"),
        Check(11, "finished optimising", hits > 0, f"{0 if hits else 40} of {n} rows still improving"),
        Check(14, "breaks without a radius", None, "the endpoint refused"),
    )
    fields: dict[str, Any] = {
        "attack": attack, "params": {"steps": int(cap)}, "adversary": "customer", "may": ("label", "score", "submit"),
        "budget": f"queries_per_row={cap:.0f}", "target": "reader", "fingerprint": "ab" * 32, "case": "evade", "seed": 0,
        "measure": "rows broken", "rate": hits / n, "interval": clopper_pearson(hits, n), "n": n,
        "verdict": Verdict.BROKEN if hits else Verdict.RESISTED,
        "baseline": Baseline("random change", 0.03, Interval(0.006, 0.085)),
        "cost": Cost(median_time(times, fell), cap), "spent": {"queries": int(times.sum()), "refused": 0, "judge": n},
        "health": health, "rows": rows, "curves": {"queries": curve(times, fell)} if hits else {},
        "papers": ("arXiv:1912.00049",), "extra": {"within": "linf <= 0.15 in [0, 1]"},
    }  # fmt: skip
    return Evidence(**fields | changes)


def finding(
    threat: str, title: str, *evidence: Evidence, status: Status | None = None, impact: int = 3, **changes: Any
) -> Finding:
    rule, _, place = threat.partition("@")
    element, _, principal = place.partition("#")
    status = status or (Status(str(evidence[0].verdict)) if evidence else Status.UNTESTED)
    cost = next((e.cost for e in evidence if e.broken), evidence[0].cost if evidence else None)
    fields: dict[str, Any] = {
        "threat": threat, "rule": rule, "title": title, "element": element, "principal": principal,
        "explanation": f"{principal} chooses inputs to {element} and sees what it decides.", "impact": impact,
        "status": status, "severity": severity(impact, status, cost), "cost": cost, "evidence": evidence,
        "adversary": {
            "name": principal, "principal": principal, "may": ["label", "score", "submit"], "budget": "queries_per_row=1000",
            "knowledge": [], "derived_from": [f"access({principal}, {element}): query", f"access({principal}, {element}): see_score"],
            "facts": [f"{element}.model.output = score (asserted)", f"{element}.endpoint.auth = key (measured)"],
        },
        "mappings": MAPPINGS, "mitigations": ("service.labels_only", "service.query_budget"), "maturity": "demonstrated",
        "file": "system.yaml", "line": 12,
    }  # fmt: skip
    return Finding(**fields | changes)


def system(name: str = "cheques-scores", *, personal: Truth = Truth.NO, output: str = "score", description: str = "") -> System:
    """A cheque reader: an app, an API, a reader, a clearing decision and the training of it all."""
    return System(
        name=name, version="3.2", owner="payments", task="multiclass", modality="image",
        description=description or "Reads the digits of a paid-in cheque; below the threshold a clerk reads them.",
        zones=(Zone(id="internet", trust="public"), Zone(id="bank", trust="prod"), Zone(id="lab", trust="research")),
        principals=(
            Principal(id="customer", kind="customer", zone="internet"), Principal(id="labeller", kind="labeller", zone="lab"),
            Principal(id="hub", kind="mlaas_provider", zone="internet"),
        ),
        assets=(Asset(id="digits", kind="decision", value=Worth(integrity=3)), Asset(id="cheques", kind="training_data", personal=personal)),
        components=(
            Component(id="app", kind="sensor", zone="internet"),
            Component(id="api", kind="server", zone="bank", endpoint=Endpoint(auth="key", rate_limit=RateLimit(per="day", n=1000, key="account"))),
            Component(id="reader", kind="model_artifact", zone="bank", model=Model(family="cnn", output=output, differentiable=Truth.YES)),  # type: ignore[arg-type]
            Component(id="clearing", kind="decision", zone="bank"), Component(id="clerk", kind="human_review", zone="bank"),
            Component(id="feedback", kind="feedback", zone="bank"), Component(id="trainer", kind="trainer", zone="lab", holds=("cheques",)),
        ),
        flows=(
            Flow(from_="customer", to="app", data=("digits",), channel="physical"), Flow(from_="app", to="api", channel="https", auth="key"),
            Flow(from_="api", to="reader", channel="grpc"), Flow(from_="reader", to="clearing", data=("digits",), channel="bus"),
            Flow(from_="reader", to="clerk", channel="human"), Flow(from_="clerk", to="feedback", channel="bus"),
            Flow(from_="feedback", to="trainer", data=("cheques",), channel="file"), Flow(from_="trainer", to="reader", channel="file"),
            Flow(from_="labeller", to="trainer", channel="human"),
        ),
        access=(
            Access(principal="customer", on="api", can=("query", "see_score")),
            Access(principal="labeller", on="trainer", can=("write_labels",)), Access(principal="hub", on="reader", unsure=("write_weights",)),
        ),
        sources={"reader.model.output": "measured"},
    )  # fmt: skip


def pictures(evidence: Evidence, n: int = 4) -> dict[str, Any]:
    x, y = blobs()
    order = np.argsort(~evidence.rows["broken"], kind="stable")[:n]
    return {
        "before": x.numpy()[order], "after": np.asarray(evidence.claims.x)[order], "row": order, "truth": y.numpy()[order],
        "broken": evidence.rows["broken"][order], "label_after": evidence.rows["label_after"][order],
    }  # fmt: skip


def assessment(name: str = "cheques-scores", *evidence: Evidence, **changes: Any) -> Assessment:
    """One system with a finding of every kind."""
    lead = evidence or (made(), made("evasion.hopskipjump", median=400, share=0.8))
    held = replace(made("evasion.transfer", share=0), verdict=Verdict.RESISTED)
    sick = replace(
        made("poisoning.label_flip", share=0), verdict=Verdict.INCONCLUSIVE, reasons=("check 11, finished optimising: 40 of 100",)
    )
    findings = (
        finding("EV-02@reader#customer", "Score-based black-box evasion", *lead),
        finding("PO-01@trainer#labeller", "Indiscriminate poisoning", sick),
        finding("PR-01@reader#customer", "Membership inference", status=Status.UNTESTED, reason="no recipe"),
        finding("SY-02@reader#hub", "Unsigned or mutable artifact", status=Status.QUESTION, reason="Is the model file signed?"),
        finding("EV-04@reader#customer", "Transfer from the public parent", held),
    )
    fields: dict[str, Any] = {
        "name": name, "path": f"examples/{name}.yaml", "system": system(name), "findings": findings,
        "questions": ({"field": "reader.artifact.signed", "text": "Is the model file of reader signed?", "threats": ["SY-02@reader"], "impact": 3},),
        "untested": ({"what": "PR-01@reader#customer: privacy.loss_threshold", "reason": "no recipe"},),
        "reproduce": f"casemate assess examples/{name}.yaml --seed 0 --budget standard --workers 2",
        "versions": {"python": "3.11.9", "casemate": "0.1.0", "torch": "2.13.0"}, "seconds": 81.2,
        "clean": {"reader.accuracy": 0.968, "reader.rejected": 0.027},
        "hardening": (
            {"control": "none", "rate_before": 0.9, "rate_after": 0.9, "accuracy_before": 0.968, "accuracy_after": 0.968},
            {"control": "service.labels_only", "before": {"rate": 0.9, "cost": Cost(81.0)}, "after": {"rate": 0.42, "cost": Cost(None, 1000.0)}},
        ),
    }  # fmt: skip
    return Assessment(**fields | changes)


def overlays() -> tuple[Assessment, ...]:
    """One system, three deployments: labels, scores, on the device."""
    white = real()
    labels = made("evasion.hopskipjump", median=900, share=0.5, cap=1000, may=("label", "submit"))
    return (
        assessment("cheques-labels", labels),
        assessment("cheques-scores", conflicts=("reader: the description says label, the target shows 10 scores",)),
        assessment("cheques-device", white, samples={"EV-02@reader#customer": pictures(white)}),
    )


def hostile() -> Assessment:
    """Every free text is an attack on a renderer."""
    text = " ".join(HOSTILE)
    stages = [{"attack": text, "params": {}, "tried": tried, "fell": 0, "spent": {text: 3}, "stopped": text} for tried in (0, 4)]
    bad = made(
        measure=text, budget=text, target=text, reasons=(text,), papers=(text,), params={text: text},
        extra={text: text, "within": text, "stages": stages, "distances": {"attack": text, "n": 3, "found": 2, "0.5": 0.1}},
        adversary=text, baseline=Baseline(text, 0.1), health=(Check(1, text, False, text), Check(3, text, None, text, False, applies=False)), fingerprint=text,
        curves={text: [(1.0, 0.5, -3.0, 9.0), (2.0, float("nan"), 0, 1), (float("inf"), 1, 0, 1)]}, spent={text: 3},
    )  # fmt: skip
    gone = disposed("violated", reason=text, owner=text, approved_by=text, ticket=text, place=(text, 1), why=text)
    worth = priced(impact_because=text, currency=text, terms=(text,), changes=text)
    assumed = prior(impact_because=text, currency=text, terms=(text,), changes=text)
    told: dict[str, Any] = {
        "advice": ({"do": text, "effect": text, "reference": text},), "harm": text, "claimed": (text,), "tests": (text,), "checks": (text,),
    }  # fmt: skip
    one = finding(
        "EV-02@reader#customer", text, bad, disposed=gone, risk=worth, **told, explanation=text, principal=text, reason=text, file=text, mitigations=(text,),
        adversary={"name": text, text: text, "facts": [text]}, mappings={text: [text, {"id": text, "name": text}]}, maturity=text,
    )  # fmt: skip
    held = {"before": [text.encode()], "after": [text.encode() + b"!"], "row": [0], "truth": [text], "label_after": [text]}
    return assessment(
        text, system=system(text, description=text), conflicts=(text,),
        findings=(
            one, finding(text, text, reason=text, risk=assumed, severity="high", disposed=gone, **told),
            finding(text + "2", text, status=Status.QUESTION, reason=text, disposed=gone),
        ),
        chains=(Chain(steps=(text, text), gains=(text, ""), attacker=text, title=text, impact=1, low=1.0, high=2.0, currency=text),),
        hidden=(Hidden(threat=text, title=text, by=text, because=text),), warnings=(text,),
        questions=({"field": text, "text": text, "threats": [text]},), untested=({"what": text, "reason": text},), path=text,
        reproduce=text, versions={text: text}, clean={text: 1.0}, hardening=({text: text},), samples={"EV-02@reader#customer": held},
    )  # fmt: skip


def disposed(state: str = "active", **changes: Any) -> Disposed:
    fields: dict[str, Any] = {
        "threat": "EV-0*", "decision": "accept", "reason": "the loss is insured", "owner": "risk team", "approved_by": "the board",
        "made": datetime.date(2026, 1, 1), "expires": datetime.date(2026, 6, 30), "cost_floor": 500.0, "queries_floor": 1000,
        "rate_ceiling": 0.25, "ticket": "R-7", "place": ("shop/dispositions.yaml", 4),
    }  # fmt: skip
    why = changes.pop("why", "" if state == "active" else "a break costs 80 queries")
    return Disposed(disposition=Disposition(**fields | changes), state=state, why=why)  # type: ignore[arg-type]


def prior(low: float = 100.0, high: float = 10_000.0, **changes: Any) -> Risk:
    fields: dict[str, Any] = {
        "impact": 3, "impact_because": "digits.value.I = 3 (asserted)", "low": low, "high": high, "basis": "prior", "band": "cheap",
        "severity": "high", "confidence": "prior", "terms": ("assumed by the catalogue: 100 to 10,000",),
        "changes": "A target bound in system.target, so that this can be tested.",
    }  # fmt: skip
    return Risk(**fields | changes)


def priced(money: float = 12.5, **changes: Any) -> Risk:
    fields: dict[str, Any] = {
        "impact": 3, "impact_because": "digits.value.I = 3 (asserted)", "low": money, "high": money, "currency": "CHF",
        "basis": "measured", "band": "trivial", "severity": "high", "confidence": "measured adaptively", "margin": "profitable",
        "terms": ("30 accounts at 2.00", "1,200 queries at 0.50 per 1,000"), "changes": "A control against it.",
    }  # fmt: skip
    return Risk(**fields | changes)


ADVICE = ({"do": "Sign model files where they are made.", "effect": "prevents", "reference": "AML.M0013 Code Signing (5.6.0)"},)
CHAIN = Chain(
    steps=("SY-02@reader#hub", "EV-02@reader#customer"), gains=("read_weights on reader", ""), attacker="hub", title="From file to decision",
    impact=3, low=70.0, high=40_000.0,
)  # fmt: skip


def derived_only(name: str = "cheques", **changes: Any) -> Assessment:
    """What a description alone says: two threats by prior, one of which nothing here runs, and a question."""
    common: dict[str, Any] = {"severity": "high", "risk": prior(), "harm": "A cheque is read wrongly.", "advice": ADVICE}
    found = (
        finding("EV-02@reader#customer", "Score-based black-box evasion", tests=("evasion.square",), **common),
        finding("PR-02@reader#customer", "Inversion", mappings={}, **common),
        finding("SY-02@reader#hub", "Unsigned or mutable artifact", status=Status.QUESTION, reason="Is it signed?"),
    )
    return assessment(name, **{"findings": found, "untested": (), "hardening": (), "clean": {}, "budget": "none", **changes})


def hostile_alone(text: str) -> Assessment:
    """Nothing measured, and every new free text the same attack."""
    bad = finding(
        text, text, risk=prior(impact_because=text, currency=text, changes=text), severity="high", harm=text, claimed=(text,),
        tests=(text,), checks=(text,), advice=({"do": text, "effect": text, "reference": text},), mappings={},
        disposed=disposed("violated", reason=text, owner=text, approved_by=text, ticket=text, place=(text, 1), why=text),
    )  # fmt: skip
    chain = replace(CHAIN, steps=(text, text), gains=(text, ""), attacker=text, title=text, currency=text)
    return derived_only(
        findings=(bad,), chains=(chain,), warnings=(text,), hidden=(Hidden(threat=text, title=text, by=text, because=text),),
        questions=({"field": text, "text": text, "threats": [text]},),
    )  # fmt: skip


def large(components: int = 40) -> System:
    """A wide system: four zones, forty components, circles included."""
    rng = np.random.default_rng(3)
    zones = tuple(Zone(id=f"zone{i}") for i in range(4))
    parts = tuple(Component(id=f"component-{i}", kind="server", zone=f"zone{rng.integers(4)}") for i in range(components))
    pairs = {(int(rng.integers(max(0, i - 9), i)), i) for i in range(1, components)}
    pairs |= {tuple(map(int, rng.integers(0, components, 2))) for _ in range(15)}
    flows = tuple(Flow(from_=f"component-{a}", to=f"component-{b}", channel="https") for a, b in sorted(pairs) if a != b)
    people = tuple(Principal(id=f"person{i}", kind="customer", zone=f"zone{i}") for i in range(3))
    reach = tuple(Access(principal=f"person{i}", on=f"component-{7 * i % components}", can=("query",)) for i in range(3))
    return System(name="large", zones=zones, principals=people, components=parts, flows=flows, access=reach)
