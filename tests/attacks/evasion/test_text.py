"""The attacks on text: answers known from enumeration, budgets, and what each of them may and may not do."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.evasion.characters import Characters
from casemate.attacks.evasion.invisible import Invisible
from casemate.attacks.evasion.substitution import Substitution
from casemate.core.errors import BadInput
from casemate.core.strings import KINDS, pieces, variants

RUDE = {"idiot": 2.0, "stupid": 1.4, "crap": 1.2}
OTHERS = {"idiot": ("nitwit", "twit"), "stupid": ("daft",)}
TEXTS = ["you are an idiot", "a stupid idea, this crap", "stupid stupid crap", "what an idiot, such crap", "Idiot"]
VISIBLE, HIDDEN = ("swap", "insert", "delete", "substitute", "case"), ("homoglyph", "invisible", "bidirectional", "backspace")


def words(word: str) -> tuple[str, ...]:
    return OTHERS.get(word.lower(), ())


def rude(texts: list[str]) -> np.ndarray:
    return np.array([sum(RUDE.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) - 0.5 for text in texts])


def scores(texts: list[str]) -> np.ndarray:
    up = 1 / (1 + np.exp(-3 * rude(texts)))
    return np.stack([1 - up, up], 1)


def labels(texts: list[str]) -> np.ndarray:
    return (rude(texts) > 0).astype(int)


def target(output: str):
    return cm.wrap(scores if output == "scores" else labels, output=output, classes=2, version="1", name="words")


def needed(text: str, kinds: tuple[str, ...]) -> float:
    """The smallest change there is, by trying every edit of every word: in a bag of words they do not depend on each other."""
    parts, cost = pieces(text), []
    for place in range(1, len(parts), 2):
        if parts[place].lower() in RUDE:
            made = [new for kind in kinds for new in variants(parts[place], kind, words)]  # type: ignore[arg-type]
            gone = [new for new in made if not set(re.findall(r"\w+", new.lower())) & set(RUDE)]
            sizes = cm.Text().measure(gone, [parts[place]] * len(gone))
            cost.append((float(min(sizes, default=np.inf)), RUDE[parts[place].lower()]))
    left = sum(weight for _, weight in cost)
    options = [sum(c for c, _ in chosen) for chosen in subsets(cost) if left - sum(w for _, w in chosen) < 0.5]
    return min(options, default=np.inf)


def subsets(items: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    return [[item for item, keep in zip(items, mask, strict=True) if keep] for mask in product((0, 1), repeat=len(items))]


CASES = [(Characters(), VISIBLE), (Invisible(), HIDDEN), (Invisible(how="evolution", rounds=20, queries=800), HIDDEN), (Substitution(), ("word",))]
IDS = ["characters", "invisible", "evolution", "substitution"]


@pytest.mark.parametrize(("attack", "kinds"), CASES, ids=IDS)
@pytest.mark.parametrize("output", ["scores", "labels"])
def test_a_text_falls_at_the_smallest_change_and_not_below(attack, kinds, output) -> None:
    for text in TEXTS:
        least = needed(text, kinds)
        for most in {0, int(min(least, 99)) - 1, int(min(least, 20))}:
            case = cm.Evade([text], [1], within=cm.Text(max(most, 0), words=words))
            evidence = cm.run(attack, target(output), case)
            slack = 2 if attack == CASES[2][0] else 0  # a random search need not find the very smallest
            assert evidence.rate == (most >= least) or (slack and most >= least), (text, most, least)
        near = cm.run(attack, target(output), cm.Evade([text], [1], within=cm.Text(20, words=words), seek="nearest"))
        distance = float(np.asarray(near.rows["distance"])[0])
        assert least <= distance <= least + slack or distance == least == np.inf, (text, least, distance)


@pytest.mark.parametrize(("attack", "kinds"), CASES, ids=IDS)
def test_only_edits_of_its_own_kinds_are_made(attack, kinds) -> None:
    case = cm.Evade(TEXTS, [1] * len(TEXTS), within=cm.Text(8, words=words))
    evidence = cm.run(attack, target("scores"), case)
    own = cm.Text(8, kinds, words=words)
    broken = np.asarray(evidence.claims.broken)
    assert broken.any()
    assert own.check([x for x, b in zip(evidence.claims.x, broken, strict=True) if b], [x for x, b in zip(TEXTS, broken, strict=True) if b]).all()


@pytest.mark.parametrize(("attack", "kinds"), CASES, ids=IDS)
@pytest.mark.parametrize("output", ["scores", "labels"])
def test_no_text_is_asked_twice_and_the_ledger_is_right(attack, kinds, output) -> None:
    asked: list[str] = []
    inner = scores if output == "scores" else labels

    def listening(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return inner(texts)

    from casemate.core.adversary import researcher
    from casemate.core.endpoint import Endpoint
    from casemate.core.oracle import Meter, Oracle
    from casemate.core.random import RowRandom
    from casemate.runs.driver import drive_dialogue

    case = cm.Evade(TEXTS[:1], [1], within=cm.Text(3, words=words), seek="nearest")
    meter = Meter(case.row)
    wrapped = cm.wrap(listening, output=output, classes=2, version="1")
    drive_dialogue(attack, Oracle(Endpoint(wrapped), researcher(), meter), case, RowRandom(0))
    assert len(asked) == len(set(asked)) == sum(meter.total[kind] for kind in ("queries", "local"))


@pytest.mark.parametrize(("attack", "kinds"), CASES, ids=IDS)
@pytest.mark.parametrize("queries", [0, 1, 5, 40])
def test_a_budget_is_never_exceeded(attack, kinds, queries) -> None:
    case = cm.Evade(TEXTS, [1] * len(TEXTS), within=cm.Text(6, words=words))
    nobody = cm.Adversary(name="somebody", may=cm.Need.LABEL | cm.Need.SCORE, budget=cm.Budget(queries_per_row=queries))
    evidence = cm.run(attack, target("scores"), case, adversary=nobody)
    assert np.asarray(evidence.rows["queries"]).max() <= queries


def test_scores_save_questions() -> None:
    case = cm.Evade(["so stupid, this crap idea of an idiot, and crap again"], [1], within=cm.Text(6))
    spent = {out: cm.run(Characters(), target(out), case).rows["queries"][0] for out in ("scores", "labels")}
    assert spent["scores"] < spent["labels"]


@pytest.mark.parametrize("output", ["scores", "labels"])
def test_of_a_long_text_the_words_that_matter_are_found_in_time(output) -> None:
    filler = [f"word{i}" for i in range(600)]
    text = " ".join([*filler[:437], "idiot", *filler[437:]])
    case = cm.Evade([text], [1], within=cm.Text(2))
    who = cm.Adversary(name="somebody", may=cm.Need.LABEL | cm.Need.SCORE, budget=cm.Budget(queries_per_row=300))
    for attack in (Characters(), Invisible()):
        assert cm.run(attack, target(output), case, adversary=who).rate == 1.0


@pytest.mark.parametrize(("attack", "kinds"), CASES, ids=IDS)
def test_a_goal_may_be_named(attack, kinds) -> None:
    case = cm.Evade(["this is crap"], [1], within=cm.Text(6, words=lambda w: ("stuff",) if w == "crap" else ()), goal=cm.Becomes(0))
    assert cm.run(attack, target("scores"), case).rate == 1.0


@pytest.mark.parametrize("attack", [Characters(), Invisible(), Invisible(how="evolution")])
def test_what_is_kept_stays(attack) -> None:
    case = cm.Evade(["@idiot you idiot"], [1], within=cm.Text(6, keep=("@idiot",)), goal=cm.Becomes(0))
    free = replace(case, within=cm.Text(6))
    assert cm.run(attack, target("scores"), free).rate == 1.0
    assert cm.run(attack, target("scores"), case).rate == 0.0


@pytest.mark.parametrize("text", ["", "  ", "!!! ...", "a", "1", "漢字 かな", "🙂", "word\n\n\tword", "don't"])
@pytest.mark.parametrize("attack", [Characters(), Invisible(), Invisible(how="evolution", rounds=2), Substitution()])
def test_odd_texts_end_quietly(attack, text) -> None:
    case = cm.Evade([text], [0], within=cm.Text(4, words=words))
    assert cm.run(attack, target("labels"), case).rate == 0.0


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    array = cm.Evade(np.zeros((1, 4)), [0], within=cm.Ball("linf", 0.1))
    for attack in (Characters(), Invisible(), Substitution()):
        with pytest.raises(BadInput, match=r"strings inside a Text; got .* inside Ball"):
            cm.run(attack, cm.wrap(lambda x: np.zeros(len(x), int), classes=2, version="1"), array)
    with pytest.raises(BadInput, match="kinds word; the Text allows swap"):
        cm.run(Substitution(), target("labels"), cm.Evade(["idiot"], [1], within=cm.Text(3, ("swap",))))
    with pytest.raises(BadInput, match="population=2"):
        cm.run(Invisible(how="evolution", population=2), target("labels"), cm.Evade(["idiot"], [1], within=cm.Text(3)))


def test_a_constraint_and_its_attacks_know_the_same_kinds() -> None:
    assert set(Characters.edits) | set(Invisible.edits) | set(Substitution.edits) == set(KINDS)
