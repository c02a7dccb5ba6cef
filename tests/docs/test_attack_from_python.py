"""The page on attacking from Python: every block runs as printed, in order, and shows what the page says it shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks.evasion.tree_bound import certify

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
PAGE = HOWTO / "attack-from-python.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page():
    """What the page's blocks leave behind, run one after another in one module."""
    module = ModuleType("page")
    sys.modules["page"] = module
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) == 8 and TEXT.count("```") == 16
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), module.__dict__)
    yield module
    sys.modules.pop("page", None)


def test_a_stronger_attack_breaks_no_less(page):
    assert page.evidence.verdict == "broken" and page.evidence.n <= 40
    assert page.changed.shape == (40, 6) and page.case.within.check(page.changed, page.x[:40]).all()
    assert page.strong.rate > page.evidence.rate and page.best.rate >= page.strong.rate
    assert len(page.best.extra["stages"]) > 2


def test_accuracy_over_the_radius_falls_from_clean_accuracy(page):
    shares = list(page.accuracy.values())
    assert shares == sorted(shares, reverse=True) and shares[0] == page.right.mean() and shares[-1] < shares[0]
    assert np.isinf(page.distance[~page.near.rows["broken"]]).all()


def test_the_adversary_is_held_to_labels_and_to_its_queries(page):
    assert page.asked.rows["queries"].max() <= 300 and page.asked.spent["gradients"] == 0
    shares = [share for _, share, _, _ in page.asked.curves["queries"]]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(page.asked.rate)
    assert page.moved.rate > 0 and page.moved.spent["parent"] > 0 and page.moved.spent["gradients"] == 0


def test_no_change_of_a_forest_is_below_the_certified_bound(page):
    assert page.found.broken and (page.found.rows["distance"] >= page.bound - 1e-9).all()
    assert (page.exact.rows["distance"] <= page.found.rows["distance"][:5] + 1e-6).all() and page.bound.max() > 0


def test_rows_texts_and_files_stay_inside_their_constraints(page):
    for evidence in (page.rows, page.edited, page.mine, page.felt):
        assert evidence.broken and evidence.rows["inside"].all(), evidence
    (invisible, misspelt), (erased, still) = page.seen
    assert (invisible, misspelt, erased, still) == (1, 1, 0, 1)


def test_an_own_constraint_and_an_own_goal_decide(page):
    claims = np.asarray(page.mine.claims.x)
    assert (claims[:, -1] == page.x[:40, -1]).all() and (claims != page.x[:40]).any()
    assert (page.mine.rows["label_after"][page.mine.rows["broken"]] == 2).all()


def test_systems_around_the_model_and_a_regression_are_attacked(page):
    assert all(evidence.rate > 0 and evidence.n > 20 for evidence in page.whole)
    assert page.whole[0].extra["votes"] == 20 and page.dearer.broken


class Numbers:
    """A goal about numbers, with no loss that fits a regression."""

    def met(self, decision, y):
        return abs(decision - y) > 100

    def loss(self, logits, y):
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")


LINEAR = torch.nn.Linear(6, 3)
X = np.random.default_rng(0).random((4, 6), dtype=np.float32)
Y = cm.wrap(LINEAR).respond(X).label.numpy()
BALL = cm.Ball("linf", 0.1)


class Nudged:
    """One value of an array moved at a time: an own constraint that only proposes."""

    def measure(self, claim, origin):
        return np.abs(claim - origin).max(1).astype(float)

    def check(self, claim, origin):
        return self.measure(claim, origin) <= 0.3

    def propose(self, row, origin, rng):
        row = row.copy()
        place = rng.integers(len(row))
        row[place] = origin[place] + rng.uniform(-0.3, 0.3)
        return row


def test_an_own_constraint_on_arrays_that_only_proposes_is_searched():
    torch.manual_seed(0)
    net = cm.wrap(torch.nn.Linear(6, 2))
    x = np.random.default_rng(0).random((20, 6), dtype=np.float32)
    evidence = cm.run("evasion.edits", net, cm.Evade(x, net.respond(x).label.numpy(), within=Nudged()), seed=0)
    assert evidence.broken and evidence.rows["inside"].all() and evidence.rows["distance"][evidence.rows["broken"]].max() <= 0.3


def test_a_bare_parent_is_wrapped():
    given = cm.run("evasion.transfer", LINEAR, cm.Evade(X, Y, within=BALL), known=cm.Known(parent=LINEAR), seed=0)
    assert given.spent["parent"] > 0 and given.n == 4


@pytest.mark.parametrize(("error", "message", "attempt"), [
    (cm.BadInput, "gave shape .* for .* rows; give one number for each row",
     lambda: cm.run("evasion.pgd", LINEAR, cm.Evade(X, Y, within=BALL, loss=lambda logits, y: logits.mean()))),
    (cm.BadInput, "keeps no graph",
     lambda: cm.run("evasion.pgd", LINEAR, cm.Evade(X, Y, within=BALL, loss=lambda logits, y: logits.detach()[:, 0]))),
    (cm.BadInput, "within=0.1 has no check", lambda: cm.run("evasion.pgd", LINEAR, cm.Evade(X, Y, within=0.1))),
    (cm.BadInput, "harden_target", lambda: cm.run("evasion.pgd", LINEAR, cm.Evade(X, Y, within=BALL),
                                                  controls=[cm.controls.Canonicalise()])),
    (cm.BadInput, r"goal=Shift\(by\)",
     lambda: cm.run("evasion.pgd", torch.nn.Linear(6, 1), cm.Evade(X, [0.5, 0.25, 0.1, 0.7], within=BALL, goal=Numbers()))),
    (cm.BadInput, "has no column 'age'", lambda: cm.Table({}, names=("a", "b"), relations={"r": "a <= age"})),
    (cm.BadInput, "evasion.edits", lambda: cm.run("evasion.genetic", LINEAR, cm.Evade(X, Y, within=Nudged()))),
    (cm.BadInput, "structure", lambda: certify(cm.wrap(LINEAR), X, Y)),
    (cm.NotGranted, "known=Known", lambda: cm.run("evasion.transfer", LINEAR, cm.Evade(X, Y, within=BALL))),
    (AttributeError, "did you mean: .*PGD", lambda: cm.attacks.PDG),
    (AttributeError, "QueryBudget", lambda: cm.controls.Budgets),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_what_goes_wrong_is_told(error, message, attempt):
    with pytest.raises(error, match=message):
        attempt()


def test_the_page_is_short_and_its_links_lead_somewhere():
    lines = TEXT.splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 130
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert "../reference/health.md" in links and "../explanation/evidence.md" in links
    assert all((HOWTO / link).resolve().is_file() for link in links)
