"""The canonicalising control: what nobody sees is undone exactly, what a reader can read is left, and typos get through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import casemate as cm
from casemate.controls.inference.canonicalise import Canonicalise, Plain
from casemate.core.errors import UsageError
from casemate.core.strings import variants
from casemate.testing import check_control

PLAIN = Plain(look_alikes=True, leetspeak=False)
HIDDEN = ("homoglyph", "invisible", "bidirectional", "backspace")
WORDS = ("idiot", "Stupid", "crap", "JERK", "quiz", "whom", "foxglove")


def test_it_keeps_the_contract_of_controls() -> None:
    check_control("inference.canonicalise")


@pytest.mark.parametrize("kind", HIDDEN)
@pytest.mark.parametrize("word", WORDS)
def test_every_hidden_edit_is_undone(kind: str, word: str) -> None:
    made = variants(word, kind)  # type: ignore[arg-type]
    assert made
    for new in made:
        assert PLAIN.one(f"you {new}, you") == f"you {word}, you", ascii(new)


@given(st.lists(st.tuples(st.sampled_from(HIDDEN), st.integers(0, 1000)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_hidden_edits_in_many_words_are_undone(edits: list[tuple[str, int]]) -> None:
    words = ["some", "idiot", "wrote", "stupid", "crap", "here"]
    for i, (kind, which) in enumerate(edits):
        made = variants(words[i], kind)  # type: ignore[arg-type]
        words[i] = made[which % len(made)]
    assert PLAIN.one(" ".join(words)) == "some idiot wrote stupid crap here"


@pytest.mark.parametrize("text", ["", "plain text, as it is.", "tab\tand\nline", "café ñandú", "привет, мир", "漢字かな", "🙂 fine", "2021"])
def test_honest_text_is_not_touched(text: str) -> None:
    assert PLAIN.one(text) == text


def test_a_look_alike_that_compatibility_forms_would_lose_is_folded_first() -> None:
    assert PLAIN.one("ϲrap") == "crap" and PLAIN.one("ϲ𝐫𝐚𝐩") == "crap" and PLAIN.one("Ϲ𝐑𝐀𝐏") == "CRAP"


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_twice_is_once(text: str) -> None:
    for options in ((True, False), (False, False), (True, True)):
        control = Plain(*options)
        assert control.one(control.one(text)) == control.one(text)


def test_what_can_be_seen_is_left_for_the_model() -> None:
    assert PLAIN.one("id1ot, i d i o t, idoit") == "id1ot, i d i o t, idoit"
    assert Plain(look_alikes=True, leetspeak=True).one("id1ot from 2021") == "idiot from 2021"
    assert Plain(look_alikes=False, leetspeak=False).one("іdіоt\u200b") == "іdіоt"


def test_rows_stay_in_order_whatever_holds_them() -> None:
    rows = ["іdіоt", "plain"]
    assert PLAIN(rows) == ["idiot", "plain"] and PLAIN(tuple(rows)) == ("idiot", "plain")
    assert list(PLAIN(np.array(rows, object))) == ["idiot", "plain"]
    numbers = np.ones((2, 3))
    assert PLAIN(numbers) is numbers


def test_it_stands_before_everything_else() -> None:
    upper = cm.Stage(name="upper", forward=lambda x: [row.upper() for row in x])
    target = cm.wrap(lambda x: [int("IDIOT" in row) for row in x], classes=2, version="1", stages=(upper,))
    hard = Canonicalise().harden_target(target)
    assert [stage.name for stage in hard.stages] == ["canonicalise", "upper"]
    assert list(target.respond(["an іdiot"]).label) == [0] and list(hard.respond(["an іdiot"]).label) == [1]
    assert len({t.fingerprint() for t in (target, hard, Canonicalise(leetspeak=True).harden_target(target))}) == 3
    with pytest.raises(UsageError, match="cannot harden"):
        Canonicalise().harden_target(object())


def test_it_ends_the_hidden_edits_and_not_the_visible_ones() -> None:
    """What `casemate harden` measures on the example, on a list of words."""
    target = cm.wrap(lambda x: [int(any(w in row.lower() for w in ("idiot", "crap"))) for row in x], classes=2, version="1")
    case = cm.Evade(["you idiot", "what crap is this", "CRAP"], [1, 1, 1], within=cm.Text(4))
    hard = Canonicalise().harden_target(target)
    rates = {(id, t): cm.run(id, {"was": target, "now": hard}[t], case).rate for id in ("evasion.invisible", "evasion.characters") for t in ("was", "now")}
    assert rates == {
        ("evasion.invisible", "was"): 1.0, ("evasion.invisible", "now"): 0.0,
        ("evasion.characters", "was"): 1.0, ("evasion.characters", "now"): 1.0,
    }  # fmt: skip
