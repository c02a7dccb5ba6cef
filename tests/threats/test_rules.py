"""The rule language is total and honest about ignorance; every shipped rule does what its fixtures say."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.fact import Fact, Truth
from casemate.core.shape import hints
from casemate.core.system import NO, UNKNOWN, YES, Access, Component, System
from casemate.threats.derive import Derivation, derive
from casemate.threats.expressions import All, BadRule, Either, Expression, InOrder, Not
from casemate.threats.load import loads
from casemate.threats.nodes import read
from casemate.threats.rules import CATALOGUE, Rule, catalogue, read_rules
from casemate.threats.scene import Scene, Used, Verdict

FIXTURES = CATALOGUE / "fixtures"
RULES = {rule.id: rule for rule in catalogue()}


def case(rule: str, name: str) -> tuple[System, str]:
    """A fixture as a system, and what it expects."""
    found: Any = read(FIXTURES / f"{rule}.yaml", rule).plain()
    text = json.dumps({"extends": "shop.yaml", **found[name]["given"]})
    return loads(text, folder=str(FIXTURES)), found[name].get("expect", "")


def outcome(derivation: Derivation) -> tuple[list[str], list[str]]:
    return [t.id for t in derivation.threats], [q.path for q in derivation.questions]


# The language --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    truth: Truth
    name: str = "x"

    def judge(self, scene: Scene) -> Verdict:
        return Verdict(self.truth, (Used(Fact(self.name, self.truth)),))


SCENE = Scene(System(), {})


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_any_and_not_are_kleenes(size: int) -> None:
    for truths in itertools.product(Truth, repeat=size):
        leaves = tuple(map(Leaf, truths))
        both, either = All(leaves).judge(SCENE), Either(leaves).judge(SCENE)
        expect_all, expect_any = truths[0], truths[0]
        for truth in truths[1:]:
            expect_all, expect_any = expect_all & truth, expect_any | truth
        assert (both.truth, either.truth) == (expect_all, expect_any)
        assert Not(All(leaves)).judge(SCENE).truth is ~expect_all
        for verdict in (both, either):  # an unknown verdict names exactly what is unknown
            if verdict.truth is UNKNOWN:
                assert [u.fact.value for u in verdict.used] == [UNKNOWN] * truths.count(UNKNOWN)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_in_order_is_all_that_asks_for_one_thing_at_a_time(size: int) -> None:
    for truths in itertools.product(Truth, repeat=size):
        leaves = tuple(Leaf(truth, f"x{index}") for index, truth in enumerate(truths))
        both, ordered = All(leaves).judge(SCENE), InOrder(leaves).judge(SCENE)
        assert ordered.truth is both.truth
        assert ordered.used == (both.used[:1] if both.truth is UNKNOWN else both.used)


NAMES = ("a", "b", "c")
expressions: st.SearchStrategy[Callable[[dict[str, Truth]], Expression]] = st.recursive(
    st.sampled_from(NAMES).map(lambda name: lambda values: Leaf(values[name], name)),
    lambda inner: st.one_of(
        inner.map(lambda part: lambda values: Not(part(values))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: lambda v: All(tuple(p(v) for p in parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: lambda v: Either(tuple(p(v) for p in parts))),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(expressions, st.fixed_dictionaries({name: st.sampled_from(Truth) for name in NAMES}))
def test_answering_a_question_never_turns_a_decided_verdict(build: Any, values: dict[str, Truth]) -> None:
    before = build(values).judge(SCENE).truth
    open_ = [name for name in NAMES if values[name] is UNKNOWN]
    after = {
        build({**values, **dict(zip(open_, answers, strict=True))}).judge(SCENE).truth
        for answers in itertools.product((YES, NO), repeat=len(open_))
    }
    assert UNKNOWN not in after
    assert before is UNKNOWN or after == {before}


GOOD = (CATALOGUE / "EV-04.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("submits: $c", "submitz: $c", "did you mean 'submits'"),
        ("submits: $c", "submits: $d", "$d is not a name here"),
        ("submits: $c", "submits: $p", "$p is not a name here"),
        ("submits: $c", "{submits: $c, not: {submits: $c}}", "exactly one of"),
        ("submits: $c", "all: []", "at least one expression"),
        ("submits: $c", "in_order: []", "at least one expression"),
        ("submits: $c", "{can: [query], where: moon}", "expected one of here, artifact, training"),
        ("submits: $c", "{submits: $c, when: now}", "no such part"),
        ("submits: $c", "can: [fly]", "expected one of read_data"),
        ("submits: $c", "lists: $c.model.output", "is no list that is empty"),
        ("submits: $c", "lists: $c.provenance.data", "did you mean 'datasets'"),
        ("submits: $c", "{lists: $c.provenance.datasets, at_least: 2}", "no such part"),
        ("submits: $c", "sees: everything", "expected one of label, score, logits"),
        ("submits: $c", "affords: many", "needs a number"),
        ("submits: $c", "{asset: decision}", "needs either 'value'"),
        ("submits: $c", "{asset: decision, value: Z, at_least: 1}", "expected one of C, I, A, P"),
        ("submits: $c", "{exists: t, among: stars, of: $c, where: {submits: $t}}", "expected one of trainers"),
        ("submits: $c", "{exists: c, among: trainers, of: $c, where: {submits: $c}}", "needs a new name"),
        ("submits: $c", "__import__('os').system('true')", "exactly one of"),
        ("parent.public, is: yes", "parent.publik, is: yes", "did you mean 'public'"),
        ("parent.public, is: yes", "parent.public.deep, is: yes", "nothing below"),
        ("parent.public, is: yes", "parent.public, is: maybe", "is never 'maybe'"),
        ("parent.public, is: yes", "parent.public, is: unknown", "becomes a question"),
        ("parent.public, is: yes", "parent.public", "exactly one of is, in"),
        ("$c.provenance", "$x.provenance", "starts at nothing known"),
        ("{p} chooses", "{q} chooses", "{q} is not a name here"),
        ("{c.provenance.parent.ref}", "{c.provenance.parent.reff}", "did you mean 'ref'"),
        ("harm:\n", 'questions:\n  provenance.parent.pub: "Is it?"\nharm:\n', "never asks for this"),
        ("prior: [100, 10000]", "prior: [3, 2]", "expected [low, high]"),
        ("harm:\n", "gives: [{can: [fly]}]\nharm:\n", "gives.can"),
        ("harm:\n", "gives: [{can: [query], on: moon}]\nharm:\n", "gives.on"),
        ("effect: raises_cost", "effect: magic", "advice.effect"),
        ("harm:\n", "dominated_by: {EV-99: no}\nharm:\n", "there is no rule EV-99"),
        ("submits: $c", "{trust: $c, in: [moon]}", "expected one of public"),
        ("submits: $c", "{crosses: $c}", "$c is not a name here"),
        ("floor: 2", "floor: 9", "expected 0 to 4"),
        ("asset: decision", "asset: gold", "no kind of asset"),
        ("maturity: demonstrated", "maturity: ripe", "expected feasible"),
        ("tests: [evasion.transfer]", "tests: [transfer]", "expected family.name"),
        ("id: EV-04", "id: EV4", "like ACME-01"),
        ("title: Transfer from the public parent\n", "", "rule.title: is missing"),
        ("title:", "titel:", "rule.titel: unknown key"),
    ],
)
def test_a_malformed_rule_is_fatal_and_located(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    bad = tmp_path / "EV-04.yaml"
    bad.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BadRule) as caught:
        read_rules([CATALOGUE / "EV-01.yaml", bad])
    hits = [p for p in caught.value.problems if told in str(p)]
    assert hits, str(caught.value)
    assert hits[0].file == str(bad)
    line = GOOD[: GOOD.index(old)].count("\n") + 1
    assert hits[0].line == 1 if not new or "EV-99" in new else abs(hits[0].line - line) <= 2


def test_two_rules_with_one_id_are_fatal(tmp_path: Path) -> None:
    (tmp_path / "copy.yaml").write_text(GOOD)
    with pytest.raises(BadRule, match="also defined in"):
        read_rules([CATALOGUE / "EV-04.yaml", tmp_path / "copy.yaml"])


# The catalogue -------------------------------------------------------------------------------------------------------


def test_the_whole_catalogue_is_there() -> None:
    counts = {"AV": 4, "EV": 13, "EX": 3, "PO": 9, "PR": 5, "SY": 8}
    assert list(RULES) == [f"{family}-{n:02}" for family, count in counts.items() for n in range(1, count + 1)]


@pytest.mark.parametrize("id", RULES)
class TestFixtures:
    def test_fires(self, id: str) -> None:
        system, expected = case(id, "fires")
        derivation = derive(system, [RULES[id]])
        assert outcome(derivation) == ([expected], [])
        assert derivation.threats[0].facts

    def test_silent(self, id: str) -> None:
        system, _ = case(id, "silent")
        derivation = derive(system, [RULES[id]])
        assert outcome(derivation) == ([], [])
        assert all(silent.reason for silent in derivation.silent)
        assert derivation.silent

    def test_asks(self, id: str) -> None:
        system, expected = case(id, "asks")
        derivation = derive(system, [RULES[id]])
        assert outcome(derivation) == ([], [expected])
        assert derivation.questions[0].text.endswith(("?", "settles it."))

    def test_negating_the_condition_breaks_a_fixture(self, id: str) -> None:
        assert broken(replace(RULES[id], applies_when=Not(RULES[id].applies_when)))

    def test_dropping_or_negating_any_conjunct_breaks_a_fixture(self, id: str) -> None:
        condition = RULES[id].applies_when
        if isinstance(condition, All):
            for index, part in enumerate(condition.parts):
                parts = [*condition.parts[:index], Not(part), *condition.parts[index + 1 :]]
                assert broken(replace(RULES[id], applies_when=All(tuple(parts))))


def broken(rule: Rule) -> bool:
    """Whether a changed rule disagrees with at least one fixture of the original."""
    for name in ("fires", "silent", "asks"):
        system, expected = case(rule.id, name)
        wanted = ([expected], []) if name == "fires" else ([], [expected]) if name == "asks" else ([], [])
        if outcome(derive(system, [rule])) != wanted:
            return True
    return False


# Totality ------------------------------------------------------------------------------------------------------------

CAN = hints(Access)["can"].__args__[0].__args__
PLAIN = st.sampled_from(["yes", "no", "unknown"])


@st.composite
def systems(draw: st.DrawFn) -> System:
    """Small systems with everything known, unknown or absent, and flows every which way."""
    names = ("api", "fit", "box")
    kinds = (*hints(Component)["kind"].__args__[0].__args__, None)
    text: dict[str, Any] = {"casemate": 1, "system": {"name": "x"}, "principals": [{"id": "eve"}, {"id": "bob"}]}
    text["components"] = [
        {
            "id": name,
            "kind": draw(st.sampled_from(kinds)),
            **draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "model": st.fixed_dictionaries(
                            {}, optional={"output": st.sampled_from(["label", "score", "logits"]), "mutators": PLAIN}
                        ),
                        "provenance": st.sampled_from([{"parent": "none"}, {"parent": {"public": "yes"}}, {}]),
                        "artifact": st.fixed_dictionaries(
                            {}, optional={"format": st.sampled_from(["pickle", "onnx"]), "signed": PLAIN}
                        ),
                        "endpoint": st.sampled_from(
                            [{}, {"auth": "none"}, {"rate_limit": "none"}, {"rate_limit": {"n": 0}}]
                        ),
                        "training": st.sampled_from([{}, {"review": "all"}, {"review": "none", "sources": ["box"]}]),
                    },
                )
            ),
        }
        for name in names
    ]
    ends = st.tuples(st.sampled_from(("eve", "bob", *names)), st.sampled_from(names))
    text["flows"] = [{"from": a, "to": b} for a, b in draw(st.sets(ends, max_size=6))]
    pairs = draw(st.sets(st.tuples(st.sampled_from(("eve", "bob")), st.sampled_from(names)), max_size=4))
    some = st.lists(st.sampled_from(CAN), max_size=4)
    text["access"] = [{"principal": p, "on": c, "can": draw(some), "unsure": draw(some)} for p, c in sorted(pairs)]
    worth = st.sampled_from([{}, {"I": 4, "C": 3}, {"P": 0}])
    kinds_held = draw(st.sets(st.sampled_from(["decision", "model", "training_data", "service"])))
    text["assets"] = [{"id": k, "kind": k, "value": draw(worth), "personal": draw(PLAIN)} for k in sorted(kinds_held)]
    return loads(json.dumps(text))


@settings(max_examples=120, deadline=None)
@given(systems())
def test_every_rule_answers_about_every_system(system: System) -> None:
    derivation = derive(system)
    ids = [t.id for t in derivation.threats] + [u.id for u in derivation.undecided] + [s.id for s in derivation.silent]
    assert len(ids) == len(set(ids))
    waiting = {id for question in derivation.questions for id in question.threats}
    assert waiting == {u.id for u in derivation.undecided}
    assert all(question.text and "{" not in question.text for question in derivation.questions)
    for threat in derivation.threats:
        assert threat.facts
        assert 0 <= threat.impact <= 4
        assert not any(fact.value is UNKNOWN for fact in threat.facts)
        assert "{" not in threat.explanation
    assert derive(system) == derivation
