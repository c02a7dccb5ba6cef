"""The comments example: the model, the comments, the descriptions, and what the control closes and leaves open."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("profanity_check")

import casemate as cm
from casemate.controls.inference.canonicalise import Canonicalise
from casemate.core.strings import levenshtein
from casemate.runs.bench import open_bench
from casemate.threats.derive import derive
from casemate.threats.load import load

FOLDER = Path(__file__).parents[2] / "examples" / "comments"
sys.path.insert(0, str(FOLDER))
comments = importlib.import_module("comments")
FEW = 10


@pytest.fixture(scope="module")
def bench():
    return open_bench(load(FOLDER / "system.yaml"), "moderation")


def case(kinds: tuple[str, ...] = ()) -> cm.Evade:
    within = cm.Text(6, kinds, words=comments.alternatives if not kinds or "word" in kinds else None)  # type: ignore[arg-type]
    return cm.Evade(list(comments.RUDE[:FEW]), [1] * FEW, within=within, goal=cm.Becomes(0))


def test_the_comments_are_short_mild_and_decided_right() -> None:
    texts, y = comments.sample()
    assert 60 <= len(texts) == len(set(texts)) <= 100 and sum(y) * 2 == len(y)
    assert max(map(len, texts)) <= 60 and all(text.isascii() for text in texts)
    assert ((comments.score(texts) >= comments.THRESHOLD) == np.array(y, bool)).all()
    assert comments.decide("You are an idiot") == "blocked" and comments.decide("Thank you for this article") == "published"


def test_every_alternative_is_written_as_its_word_is() -> None:
    assert comments.alternatives("idiot")[0].islower() and comments.alternatives("Idiot")[0][0].isupper()
    assert comments.alternatives("library") == ()
    for word, others in comments.ALTERNATIVES.items():
        assert word not in others and all(others)


def test_the_description_binds_what_is_deployed(bench) -> None:
    assert bench.modality == "text" and isinstance(bench.within, cm.Text)
    assert bench.within.most == 6 and bench.within.words("idiot") == comments.alternatives("idiot")
    assert list(bench.target.respond(["You are an idiot", "Nice"]).label) == [1, 0]
    assert bench.artifact.name == "model.joblib" and bench.artifact.is_file()
    assert bench.identity() is not None


@pytest.mark.parametrize(("name", "kinds"), [("hidden", {"homoglyph", "invisible", "bidirectional", "backspace"}), ("typos", {"swap", "insert", "delete", "substitute", "case"})])
def test_the_overlays_differ_in_the_kinds_of_edits_only(name: str, kinds: set[str]) -> None:
    bench = open_bench(load(FOLDER / f"{name}.yaml"), "moderation")
    assert set(bench.within.kinds) == kinds and bench.within.most == 6


def test_the_rules_of_queries_edits_and_pickles_fire() -> None:
    threats = derive(load(FOLDER / "system.yaml")).threats
    assert {"EV-02", "EV-03", "EV-07", "SY-01", "SY-02"} <= {threat.rule for threat in threats}


@pytest.mark.parametrize(("attack", "before", "after"), [("evasion.invisible", 1.0, 0.0), ("evasion.characters", 1.0, 1.0)])
def test_the_control_closes_what_nobody_sees_and_not_what_anybody_can_read(bench, attack, before, after) -> None:
    hard = Canonicalise().harden_target(bench.target)
    assert (cm.run(attack, bench.target, case()).rate, cm.run(attack, hard, case()).rate) == (before, after)


def test_another_word_gets_past_it_too(bench) -> None:
    hard = Canonicalise().harden_target(bench.target)
    rates = [cm.run("evasion.substitution", target, case(("word",))).rate for target in (bench.target, hard)]
    assert rates[0] == rates[1] >= 0.5


def test_it_costs_honest_commenters_nothing(bench) -> None:
    texts, _ = comments.sample()
    hard = Canonicalise().harden_target(bench.target)
    assert (hard.respond(texts).scores == bench.target.respond(texts).scores).all()


def test_whoever_sees_the_decision_alone_needs_more_questions_and_gets_there(bench) -> None:
    text = case(("substitute",))
    sees = {"partner": cm.Need.LABEL | cm.Need.SCORE, "commenter": cm.Need.LABEL}
    found = {}
    for name, may in sees.items():
        who = cm.Adversary(name=name, may=may, budget=cm.Budget(queries_per_row=150))
        evidence = cm.run("evasion.characters", bench.target, text, adversary=who)
        assert evidence.rate >= 0.9
        assert np.asarray(evidence.rows["queries"]).max() <= 150
        found[name] = np.nanmedian(np.asarray(evidence.rows["broke_at"]))
        assert all(levenshtein(a, b) <= 6 for a, b in zip(evidence.claims.x, text.x, strict=True))
    assert found["partner"] <= found["commenter"]
