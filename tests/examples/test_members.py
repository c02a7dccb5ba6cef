"""The members example: it leaks, private training closes most of it, and the price is the one stated."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import casemate as cm
from casemate.core.attack import attacks
from casemate.runs.bench import open_bench
from casemate.runs.kinds import KINDS
from casemate.threats.derive import derive
from casemate.threats.load import load

FOLDER = Path(__file__).parents[2] / "examples" / "members"
sys.path.insert(0, str(FOLDER))
members = importlib.import_module("members")
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SCORES = cm.Need.LABEL | cm.Need.SCORE


@pytest.fixture(scope="module")
def benches():
    return {name: open_bench(load(FOLDER / f"{name}.yaml"), "segments") for name in ("system", "private")}


def measured(bench, attack, may=SCORES):
    built = KINDS["infer"].build(bench, SimpleNamespace(seed=0, params={"members": 1500}))
    who = cm.Adversary(name="somebody", may=may, budget=cm.Budget())
    return cm.run(attack, built.target or bench.target, built.case, adversary=who, known=bench.known)


def accuracy(bench):
    return float((np.asarray(bench.target.respond(bench.data.x).label) == bench.data.y).mean())


def stated(row: str) -> list[float]:
    """The figures of a row of the README's table: the first number of each cell."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {row}"))
    return [float(re.findall(r"-?\d+\.\d+", cell)[0]) for cell in line.split("|")[2:4]]


def test_the_customers_are_made_as_described() -> None:
    x, o, y, oy = members.split()
    assert x.shape == (2000, 100) and o.shape == (1500, 100) and len(y) == 2000 and len(oy) == 1500
    assert set(np.unique(x)) == {0, 1} and set(np.unique(y)) == set(range(20))
    again, other = members.customers(50, 0), members.customers(50, 1)
    assert (again[0] == members.customers(50, 0)[0]).all() and (again[0] != other[0]).any()
    assert len(np.unique(np.concatenate([x, o]), axis=0)) == 3500, "nobody is in twice"


def test_the_threat_of_membership_is_derived_for_both() -> None:
    found = {threat.id for threat in derive(load(FOLDER / "system.yaml")).threats if threat.rule == "PR-01"}
    assert {name.split("#")[1] for name in found} == {"advertiser", "insurer"}


@pytest.mark.parametrize(("row", "attack", "may"), [
    ("advantage, segment alone", "privacy.loss_threshold", cm.Need.LABEL), ("advantage, scores (", "privacy.loss_threshold", SCORES),
])  # fmt: skip
def test_it_leaks_and_private_training_closes_most_of_it(benches, row, attack, may) -> None:
    open_, private = (measured(benches[name], attack, may) for name in ("system", "private"))
    assert str(open_.verdict) == "broken" and open_.interval.low > 0.15
    assert private.rate < 0.4 * open_.rate and private.interval.high < open_.interval.low
    assert [open_.rate, private.rate] == pytest.approx(stated(row), abs=0.03)


def test_single_people_are_found_before_and_not_after(benches) -> None:
    lira = attacks.get("privacy.lira")(shadows=16)
    open_, private = (measured(benches[name], lira, SCORES | cm.Need.RECIPE) for name in ("system", "private"))
    assert str(open_.verdict) == "broken" and str(private.verdict) != "broken"
    before, after = (evidence.extra["tpr_at_0.01_fpr"]["tpr"] for evidence in (open_, private))
    assert before > 0.12 and after < 0.04


def test_the_price_is_the_one_stated(benches) -> None:
    found = [accuracy(benches[name]) for name in ("system", "private")]
    assert found == pytest.approx(stated("accuracy, others"), abs=0.02)
    x, o, y, oy = members.split()
    stopped = cm.wrap(members.fit(x, y, 0, epochs=2))
    best = float((np.asarray(stopped.respond(o).label) == oy).mean())
    assert "**The price: 6 points of accuracy.**" in README
    assert best - found[1] == pytest.approx(0.06, abs=0.02)


def test_the_stack_trains_as_the_fit_does(benches) -> None:
    from casemate.trainers import train_many

    recipe, data = benches["system"].recipe, benches["system"].data
    out = train_many(recipe.stack, recipe.x, recipe.y, np.ones((1, 2000), int), seeds=[0], ask=data.x, classes=20)
    alike = float((out.logits[0][0].argmax(1) == data.y).mean())
    assert out.accuracy[0] == 1.0 and alike == pytest.approx(accuracy(benches["system"]), abs=0.03)


def test_what_is_claimed_is_what_training_keeps_to(benches) -> None:
    from casemate.judges.accountant import gaussian_sampled

    bench = benches["private"]
    dp, learner = bench.system.component("segments").training.dp, bench.recipe.stack
    assert (dp.eps, dp.delta) == (3.0, 1e-5)
    spent = gaussian_sampled(learner.batch / 2000, learner.noise, learner.epochs, dp.delta).epsilon
    assert 2.99 < spent <= 3.0


def test_the_audit_contradicts_no_claim_and_finds_what_is_not_private(benches) -> None:
    found = {}
    for name, bench in benches.items():
        built = KINDS["audit"].build(bench, SimpleNamespace(seed=0, params={"members": bench.system.binding("segments").canaries}))
        evidence = cm.run("privacy.canary", built.target, built.case, known=bench.known)
        found[name] = evidence
        assert evidence.extra["detectable"] > 4.5
    assert str(found["system"].verdict) == "broken" and found["system"].extra["audited"] > 2.5
    assert str(found["private"].verdict) == "resisted" and found["private"].extra["audited"] < found["private"].extra["claimed"] == 3.0
    assert [found[name].extra["audited"] for name in ("system", "private")] == pytest.approx(stated("epsilon, audited"), abs=0.6)


def test_harden_finds_the_private_training_by_itself() -> None:
    row = cm.harden(FOLDER / "system.yaml", only=("training.dp_sgd",), trains=True, budget="quick").hardening[0]
    assert row["note"] == "" and {change["after"] for change in row["changes"] if "PR-01" in change["threat"]} <= {"broken", "mitigated", "inconclusive", "claimed"}
    assert row["accuracy_after"] > row["accuracy_before"]
