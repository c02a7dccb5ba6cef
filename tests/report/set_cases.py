"""Evidence of whole sets, as their judges leave it: members, poison, copies, audits, hidden values, worlds, drills."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from casemate.core.case import Attribute, Audit, Guesses, Holdout, Infer, Invert, Leak, Recovered, Values
from casemate.core.entities import Prices
from casemate.core.evidence import Baseline, Evidence, Interval, Verdict, plain
from casemate.core.finding import Assessment
from casemate.judges import attribute, audit, groups, infer, invert, leak
from casemate.judges.exact.training import noise_floor
from casemate.judges.opinion import Opinion
from casemate.judges.statistics import clopper_pearson

from . import cases


def of(opinion: Opinion, attack: str, case: str, **changes: Any) -> Evidence:
    """Evidence as a run makes it of an opinion: everything through JSON."""
    held = Opinion.from_facts(opinion.to_facts(), opinion.rows)
    fields: dict[str, Any] = {
        "case": case, "measure": held.measure, "rate": held.rate, "interval": held.interval, "n": held.n, "reasons": held.why,
        "verdict": Verdict.BROKEN if held.broken else Verdict.RESISTED, "baseline": held.baseline, "curves": held.curves,
        "extra": held.extra, "rows": held.rows, "health": held.checks, "params": {}, "papers": (),
    }  # fmt: skip
    return cases.made(attack, **fields | changes)


@functools.cache
def members(n: int = 400, lead: float = 0.8, attack: str = "privacy.lira") -> Evidence:
    """Guesses at who was trained on: normal scores, those of members shifted by `lead`."""
    rng = np.random.default_rng(5)
    truth = np.arange(n) < n // 2
    score = rng.normal(size=n) + lead * truth
    x, y = rng.normal(size=(n, 3)), np.arange(n) % 3
    names = np.where(np.arange(n) % 50 < 3, "few", np.where(np.arange(n) % 7 < 3, "own", "rent"))
    return of(infer.judge(Infer(x=x, y=y, truth=truth, group=names), Guesses(score=score, member=score > 0.6), 400), attack, "infer")


@functools.cache
def audited(epsilon: float | None = 2.0, lead: float = 3.0, m: int = 200) -> Evidence:
    rng = np.random.default_rng(9)
    truth = rng.permutation(np.arange(m) < m // 2)
    case = Audit(x=rng.normal(size=(m, 2)), y=np.zeros(m, int), truth=truth, epsilon=epsilon, delta=1e-5)
    claim = Guesses(score=rng.normal(size=m) + lead * truth, member=truth)
    return of(audit.judge(case, claim, m), "privacy.canary", "audit")


@functools.cache
def hidden_values(n: int = 120) -> Evidence:
    """A yes or no that the attack tells more often than imputation does."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, n)
    x = np.column_stack([np.zeros(n), rng.normal(size=n)])
    found = np.where(rng.uniform(size=n) < 0.9, truth, 1 - truth)
    people = Holdout(x=np.column_stack([np.arange(60) % 2, np.arange(60.0)]), y=np.arange(60) % 2)
    case = Attribute(
        x=x, y=truth, column=0, values=(0, 1), truth=truth, member=np.arange(n) < n // 2, population=people,
    )  # fmt: skip
    claim = Values(value=found, sure=rng.uniform(size=n))
    impute = {"most common": np.zeros(n, int), "nearest": np.where(rng.uniform(size=n) < 0.6, truth, 1 - truth)}
    return of(attribute.judge(case, claim, n, lambda _: impute), "privacy.attribute", "attribute")


def poisoned(attack: str = "poisoning.label_flip", step: float = 1.6, **changes: Any) -> Evidence:
    """The error at four shares, beside random flips and the Kearns-Li line."""
    shares = (0.0, 0.02, 0.05, 0.1)
    errors = [0.04 + step * share for share in shares]
    fields: dict[str, Any] = {
        "case": "poison", "measure": "rise of the clean test error", "rate": step * 0.1, "n": 300,
        "interval": Interval(step * 0.1 - 0.04, step * 0.1 + 0.05, "paired bootstrap", 0.95), "verdict": Verdict.BROKEN,
        "baseline": Baseline("random flips", 0.02, Interval(0.005, 0.04, "paired bootstrap", 0.95)),
        "curves": {"test error": [(s, e, e - 0.015, e + 0.02) for s, e in zip(shares, errors, strict=True)]},
        "extra": {
            "fraction": 0.1, "records": 70, "largest_fraction_asked": 0.2, "seeds": [0, 1, 2], "clean_error": errors[0],
            "poisoned_error": errors[-1], "kearns_li": [[s, noise_floor(s)] for s in shares], "seed_spread": 0.01, "tolerance": 0.01,
        },
    }  # fmt: skip
    return cases.made(attack, **fields | changes)


def backdoor() -> Evidence:
    shares = (0.005, 0.01, 0.03)
    return poisoned(
        "poisoning.badnets", case="backdoor", measure="backdoor success above the clean model's", rate=0.97,
        interval=Interval(0.93, 0.99, "paired bootstrap", 0.95), baseline=Baseline("clean model by itself", 0.01),
        curves={"success": [(s, r, r - 0.06, min(1.0, r + 0.04)) for s, r in zip(shares, (0.41, 0.93, 0.97), strict=True)]},
        extra={
            "aim": "backdoor", "fraction": 0.03, "records": 42, "seeds": [0, 1], "success": 0.98, "clean_success": 0.01,
            "clean_error": 0.031, "poisoned_error": 0.036, "clean_labels": False,
        },
    )  # fmt: skip


def copied(attack: str = "extraction.learning", top: float = 0.96, **changes: Any) -> Evidence:
    """Agreement after 100 to 30,000 queries."""
    asked = (100, 300, 1000, 3000, 10_000, 30_000)
    rates = [0.5 + (top - 0.5) * (i + 1) / len(asked) for i in range(len(asked))]
    points = [(float(q), r, *(lambda c: (c.low, c.high))(clopper_pearson(round(200 * r), 200))) for q, r in zip(asked, rates, strict=True)]
    fields: dict[str, Any] = {
        "case": "copy", "measure": "agreement with the target", "rate": top, "interval": clopper_pearson(round(200 * top), 200), "n": 200,
        "baseline": Baseline("majority class", 0.4), "curves": {"agreement": points},
        "extra": {
            "enough": 0.9, "queries": 30_000, "copy": {"model": "boosting", "strategy": "random", "answers": 30_000},
            "fidelity_uniform": [0.9, 0.83, 0.94], "fidelity_boundary": [0.7, 0.58, 0.81], "total_variation": 0.17, "kl_divergence": 0.46,
            "parameter_error": 3e-10, "transfer": {"rows": 32, "turned_copy": 30, "turned_target": 21, "share": 0.7},
            "two_trainings_agree": 0.97, "copy_accuracy": 0.88, "target_accuracy": 0.91,
        },
    }  # fmt: skip
    return cases.made(attack, **fields | changes)


def worlds() -> Evidence:
    extra = {"right_by_share": {"0.3": [0.6, 0.95], "0.7": [0.7, 0.99]}, "victims": 40, "rows_of_a_victim": 500}
    return cases.made(
        "privacy.property", case="property", measure="worlds told apart", rate=0.875, interval=clopper_pearson(35, 40), n=40,
        baseline=Baseline("a coin", 0.5), extra=extra, curves={},
    )  # fmt: skip


def drilled() -> Evidence:
    faults = {"nan": "allowed, 8 of 8 inputs decided as the attacker wants", "timeout": "queued: nothing is decided"}
    return cases.made(
        "availability.fail_open", case="drill", measure="share of faults that fail open", rate=0.5, interval=None, n=2, curves={},
        baseline=None, extra={"open": ["nan"], "faults": faults, "inputs": 8},
    )  # fmt: skip


def inverted() -> Evidence:
    rng = np.random.default_rng(4)
    x, y = rng.uniform(size=(80, 2, 2)), np.arange(80) % 8
    case = Invert(classes=tuple(range(8)), shape=(2, 2), truth=Holdout(x=x[:40], y=y[:40]), others=Holdout(x=x[40:], y=y[40:]))
    near = np.clip(x[:8] + 0.02, 0, 1)
    return of(invert.judge(case, Recovered(x=near, y=y[:8]), 80), "privacy.inversion", "invert")


def leaked() -> Evidence:
    rng = np.random.default_rng(4)
    x, others = rng.uniform(size=(8, 4)), rng.uniform(size=(50, 4))
    held = {"truth": Holdout(x=x, y=np.zeros(8, int)), "others": Holdout(x=others, y=np.zeros(50, int))}
    case = Leak(model=None, gradients=((), ()), rows=4, shape=(4,), **held)
    claim = Recovered(x=np.where(np.arange(8)[:, None] < 6, x, 1 - x), y=np.zeros(8, int))
    return of(leak.judge(case, claim), "privacy.gradient_inversion", "leak")


def sponged() -> Evidence:
    extra = {
        "work": "tokens", "unit": "tokens", "found": 4096.0, "honest_mean": 120.0, "honest_most": 512.0, "to_mean": 34.1,
        "to_mean_interval": [30.0, 39.0], "honest_beyond_at_most": 0.0149, "factor": 2.0, "most_there_can_be": 8192.0,
        "proven_bound": None, "share_of_most": 0.5,
    }  # fmt: skip
    return cases.made(
        "availability.sponge", case="sponge", measure="work ratio to the costliest honest input", rate=8.0, interval=None, n=200,
        baseline=Baseline("the costliest honest input", 1.0), extra=extra, curves={},
    )  # fmt: skip


def billed() -> Evidence:
    extra = {
        "sent": 50, "admitted": 50, "rows_a_day": 86_400, "bounded": True, "cost_a_day": 432.0, "line": 100.0, "price": 0.005,
        "currency": "CHF", "accounts": 1, "accounts_for_the_line": 1, "attacker_pays_a_day": 2.5,
    }  # fmt: skip
    return cases.made(
        "availability.harvest", case="harvest", measure="daily cost, ratio to the stated line", rate=4.32, interval=None, n=50,
        baseline=None, extra=extra, curves={},
    )  # fmt: skip


def adopted() -> Evidence:
    extra = {"planted": 0.99, "success": 0.8, "clean_success": 0.02, "clean_error": 0.05, "poisoned_error": 0.052, "seeds": [0, 1, 2]}
    return cases.made(
        "poisoning.parent", case="adopt", measure="backdoor success after fine-tuning above the clean parent's", rate=0.78,
        interval=Interval(0.7, 0.85, "paired bootstrap", 0.95), n=90,
        baseline=Baseline("clean parent by itself", 0.02), extra=extra, curves={},
    )  # fmt: skip


def by_group(rates: dict[str, tuple[int, int]]) -> Evidence:
    """Evasion counted by group: successes and rows of each."""
    success = np.concatenate([np.arange(n) < hits for hits, n in rates.values()])
    names = np.concatenate([[name] * n for name, (_, n) in rates.items()])
    return cases.made("evasion.square", extra={"by_group": plain(groups.rates(success, names)), "within": "table"})


def assessment(**changes: Any) -> Assessment:
    """One system that every family was run on, with prices."""
    found = (
        cases.finding("PR-01@reader#customer", "Membership inference", members(), members(400, 0.3, "privacy.loss_threshold")),
        cases.finding("PR-03@reader#customer", "Attribute inference", hidden_values()),
        cases.finding("PR-05@trainer#labeller", "Claimed privacy does not hold", audited()),
        cases.finding("PR-06@reader#customer", "Property inference", worlds()),
        cases.finding("PO-01@trainer#labeller", "Indiscriminate poisoning", poisoned(), poisoned("poisoning.gradient", 2.2)),
        cases.finding("PO-02@trainer#labeller", "Backdoor", backdoor()),
        cases.finding("EX-01@reader#customer", "Model extraction", copied(), copied("extraction.jacobian", 0.8)),
        cases.finding("EV-02@reader#customer", "Score-based black-box evasion", by_group({"own": (18, 60), "rent": (52, 60), "for free": (4, 5)})),
        cases.finding("PR-02@reader#customer", "Inversion", inverted()),
        cases.finding("PR-07@trainer#labeller", "Gradients give inputs away", leaked()),
        cases.finding("PO-04@trainer#labeller", "Poisoned parent", adopted()),
        cases.finding("AV-02@reader#customer", "Costly inputs", sponged()),
        cases.finding("AV-03@reader#customer", "Cost harvesting", billed()),
        cases.finding("AV-04@reader#customer", "Fails open", drilled()),
    )
    system = replace(cases.system("loans"), prices=Prices(currency="CHF", per_1000_queries=0.5))
    return cases.assessment("loans", findings=found, system=system, **changes)
