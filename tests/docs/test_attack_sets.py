"""The page on training, privacy, copies and the service from Python: its blocks run as printed, and its table is true."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import casemate as cm
from casemate.core.attack import attacks

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
PAGE = HOWTO / "attack-sets-from-python.md"
TEXT = PAGE.read_text(encoding="utf-8")
KINDS = {id: attacks.get(id).info.case for id in attacks}
SETS = set(KINDS.values()) - {"evade"}
BROKEN = (
    "flips", "climbed", "marked", "misread", "adopted", "joint", "members", "audited", "column", "share", "faces", "leaked",
    "copied", "solved", "opened", "deep", "free", "bill", "loose", "swapped",
)  # fmt: skip


@pytest.fixture(scope="module")
def page():
    """What the page's blocks leave behind, run one after another in one module."""
    module = ModuleType("page")
    sys.modules["page"] = module
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) == 4 and TEXT.count("```") == 8
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), module.__dict__)
    yield module
    sys.modules.pop("page", None)


def test_every_case_meets_an_attack_that_finds_what_is_there(page):
    found = {name: getattr(page, name) for name in BROKEN}
    assert all(evidence.broken for evidence in found.values()), {n: e.verdict for n, e in found.items() if not e.broken}
    shown = [value for value in vars(page).values() if isinstance(value, cm.Evidence)]
    assert {KINDS[one.attack] for one in shown} == SETS


def test_what_limits_and_pins_hold(page):
    assert page.held.verdict != "broken" and page.limited.verdict == page.pinned.verdict == "resisted"
    assert page.limited.rate < page.free.rate and page.held.rate < page.joint.rate


def test_knowing_the_data_does_more_than_flips(page):
    assert page.climbed.rate > page.flips.rate and page.marked.rate > 0.9


def test_an_exact_copy_agrees_everywhere_and_an_inverted_gradient_is_the_input(page):
    assert page.solved.rate == 1 and page.solved.rate >= page.copied.rate > 0.9
    assert np.allclose(page.leaked.claims.x, page.digits[:20], atol=1e-3)


def test_the_table_names_every_attack_on_a_set_and_each_with_its_case():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")][1:]
    named: dict[str, set[str]] = {}
    case = ""
    for first, cell, _ in rows:
        case = first or case
        ids = set(KINDS) if "all of" not in cell else {id for id in KINDS if id.startswith("extraction.")}
        asked = re.findall(r"`([\w.]+)`", cell)
        found = {i for i in ids for a in asked if i == a or i.endswith(f".{a}") or ("all of" in cell and i.startswith(a))}
        assert len(found) >= len(asked), (cell, found)
        named.setdefault(case, set()).update(found)
    for case, found in named.items():
        wanted = {part.lower() for part in re.findall(r"`(\w+)`", case)}
        assert {KINDS[id] for id in found} == wanted, (case, found)
    told = set().union(*named.values())
    assert {id for id, kind in KINDS.items() if kind in SETS} - told == {"supply.probe", "availability.decompression"}


@pytest.mark.parametrize("id", ["gradient", "svm", "adaptive"])
def test_poison_that_reads_the_data_says_so_without_it(page, id):
    with pytest.raises(cm.NotGranted, match="training data"):
        cm.run(f"poisoning.{id}", None, page.worse)


def test_adaptive_needs_the_recipe_too_and_feedback_the_target(page):
    with pytest.raises(cm.NotGranted, match="recipe"):
        cm.run("poisoning.adaptive", None, page.worse, known=cm.Known(data=(page.recipe.x, page.recipe.y)))
    with pytest.raises(cm.BadInput, match="no target"):
        cm.run("poisoning.feedback", None, page.worse)
    assert cm.run("poisoning.feedback", page.service, page.worse).n > 100


def test_what_membership_attacks_need(page):
    target, others = page.forest(page.learned.x, page.learned.y, 0), cm.Holdout(x=page.digits[600:1200], y=page.digit[600:1200])
    given, recipe = replace(page.people, population=others), cm.Known(recipe=page.learned)
    assert cm.run("privacy.loss_threshold", target, page.people).broken
    for id in ("lira", "shadow", "entropy"):
        assert cm.run(f"privacy.{id}", target, page.people).verdict == "inconclusive"
        assert cm.run(f"privacy.{id}", target, page.people, known=recipe).broken
    for id in ("rmia", "quantile"):
        assert cm.run(f"privacy.{id}", target, given).broken
    assert cm.run("privacy.rmia", target, page.people, known=recipe).broken
    with pytest.raises(cm.BadInput, match="population"):
        cm.run("privacy.quantile", target, page.people)
    with pytest.raises(cm.NotGranted, match="recipe"):
        cm.run("privacy.truth_serum", target, page.people)


def test_without_others_a_hidden_column_shows_nothing_and_five_classes_are_too_few(page):
    seen = page.forest(page.full[:300], page.digit[:300], 0)
    assert cm.run("privacy.attribute", seen, replace(page.hidden, population=None)).verdict == "inconclusive"
    case = cm.Invert(classes=tuple(range(5)), shape=(64,), truth=page.fresh, others=page.fresh)
    assert cm.run("privacy.inversion", page.trees, case).verdict == "inconclusive"


def test_the_page_is_short_and_its_links_lead_somewhere():
    lines = TEXT.splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 130
    assert all((HOWTO / link).resolve().is_file() for link in re.findall(r"\]\(([^)#]+)", TEXT))
