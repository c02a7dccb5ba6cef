"""The fixtures of the shipped rules notice every change: each condition, alone, is turned around or left out, and one fails.

Fixtures run through the code behind `casemate threats test`, so that this says what a rule author would be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from casemate.threats.expressions import All, Either, Exists, Expression, InOrder, Not, Path, Stake
from casemate.threats.fixtures import Case, cases, run
from casemate.threats.rules import CATALOGUE, Rule, catalogue, common_questions

RULES = {rule.id: rule for rule in catalogue() if rule.place[0] == f"{rule.id}.yaml"}  # no installed packs
CASES: dict[str, tuple[Case, ...]] = {id: cases(rule, CATALOGUE) for id, rule in RULES.items()}
# Changed and unnoticed, with the reason. Empty: no condition is there for nothing.
SURVIVORS: dict[str, str] = {}


def mutants(expression: Any) -> Iterator[tuple[str, Expression]]:
    """The expression with one condition below the top turned around or left out at a time, and which one it was."""
    if isinstance(expression, (All, Either, InOrder)):
        for index, part in enumerate(expression.parts):
            if len(expression.parts) > 1:
                rest = (*expression.parts[:index], *expression.parts[index + 1 :])
                yield f"{index} left out: {_named(part)}", replace(expression, parts=rest)
            for name, changed in [(_named(part), Not(part)), *mutants(part)]:
                parts = (*expression.parts[:index], changed, *expression.parts[index + 1 :])
                yield f"{index}.{name}", replace(expression, parts=parts)
    elif isinstance(expression, Exists):
        for name, changed in [(_named(expression.where), Not(expression.where)), *mutants(expression.where)]:
            yield f"{expression.name}: {name}", replace(expression, where=changed)
    elif isinstance(expression, Not):  # around the whole of what it denies is the same as dropping the `not`
        for name, changed in mutants(expression.part):
            yield f"not {name}", Not(changed)


def _named(expression: Any) -> str:
    return f"{type(expression).__name__}({getattr(expression, 'path', '')})"


def failures(rule: Rule) -> list[str]:
    """What its fixtures say of a rule."""
    return [f"{outcome.case.name}: {outcome.problem}" for outcome in run(rule, CASES[rule.id]) if outcome.problem]


@pytest.mark.parametrize("id", RULES)
def test_the_fixtures_hold_for_the_rule_as_it_is(id: str) -> None:
    assert failures(RULES[id]) == []


@pytest.mark.parametrize("id", RULES)
def test_turning_the_whole_condition_around_is_noticed(id: str) -> None:
    assert failures(replace(RULES[id], applies_when=Not(RULES[id].applies_when)))


@pytest.mark.parametrize("id", RULES)
def test_turning_around_or_leaving_out_any_one_condition_is_noticed(id: str) -> None:
    changed = [(f"{id} {name}", mutant) for name, mutant in mutants(RULES[id].applies_when)]
    unnoticed = [name for name, mutant in changed if not failures(replace(RULES[id], applies_when=mutant))]
    assert [name for name in unnoticed if name not in SURVIVORS] == []
    assert [name for name in SURVIVORS if name.startswith(f"{id} ") and name not in unnoticed] == [], "no longer needed"


def test_every_single_condition_is_changed() -> None:
    leaf = [Path("c", f"kind{i}") for i in range(4)]
    tree = All((leaf[0], Either((leaf[1], Not(leaf[2]))), Exists("t", "trainers", "c", InOrder((leaf[3],)))))
    names = [name for name, _ in mutants(tree)]
    turned = [name for name in names if "left out" not in name]
    assert len(names) == len(set(names)) == 12
    assert len(turned) == 7
    assert all(any(name.endswith(f"(kind{i})") for name in turned) for i in (0, 1, 3))
    assert dict(mutants(All(tuple(leaf[:2])))) == {
        "0 left out: Path(kind0)": All((leaf[1],)),
        "0.Path(kind0)": All((Not(leaf[0]), leaf[1])),
        "1 left out: Path(kind1)": All((leaf[0],)),
        "1.Path(kind1)": All((leaf[0], Not(leaf[1]))),
    }


def facts_asked(expression: Any) -> Iterator[str]:
    """The keys of the questions that an expression may come to need."""
    if isinstance(expression, Path) and not expression.path.startswith("target."):
        yield expression.path
    elif isinstance(expression, Stake):
        yield f"{expression.kind}.{expression.value or expression.flag}"
    inner = (*getattr(expression, "parts", ()), getattr(expression, "part", None), getattr(expression, "where", None))
    for part in inner:
        yield from facts_asked(part) if part is not None and not isinstance(part, str) else ()


@pytest.mark.parametrize("id", RULES)
def test_whatever_a_rule_may_ask_is_asked_in_words(id: str) -> None:
    worded = {*RULES[id].questions, *common_questions(), "type"}  # the type of a control is always stated
    assert [key for key in facts_asked(RULES[id].applies_when) if key not in worded] == []
