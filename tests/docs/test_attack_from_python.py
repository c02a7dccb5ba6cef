"""The page on attacking from Python: every block runs as printed, in order, and shows what the page says it shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

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
    assert page.strong.rate >= page.evidence.rate
    assert page.best.rate >= page.evidence.rate and len(page.best.extra["stages"]) > 2


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
    for evidence in (page.rows, page.edited, page.mine):
        assert evidence.broken and evidence.rows["inside"].all(), evidence
    assert page.seen["moderation", 0, "evasion.invisible"] == 1 and page.seen["moderation", 1, "evasion.invisible"] == 0
    assert page.seen["moderation", 1, "evasion.characters"] == 1


def test_an_own_constraint_and_an_own_goal_decide(page):
    claims = np.asarray(page.mine.claims.x)
    assert (claims[:, 0] == page.x[:40, 0]).all() and (claims != page.x[:40]).any()
    assert (page.mine.rows["label_after"][page.mine.rows["broken"]] == 2).all()


def test_systems_around_the_model_and_a_regression_are_attacked(page):
    assert all(evidence.rate > 0 and evidence.n > 20 for evidence in page.whole)
    assert page.whole[0].extra["votes"] == 20 and page.dearer.broken


def test_the_page_is_short_and_its_links_lead_somewhere():
    lines = TEXT.splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 130
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert "../reference/health.md" in links and "../explanation/evidence.md" in links
    assert all((HOWTO / link).resolve().is_file() for link in links)
