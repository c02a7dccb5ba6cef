"""Text and bytes as constraints: distances are counted right, and only what was allowed is let through."""

from __future__ import annotations

import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import casemate as cm
from casemate.core.confusables import BIDI, INVISIBLE, LOOKALIKES, drawn, erased, skeleton, unleet, unseen
from casemate.core.errors import BadInput, UnknownName
from casemate.core.strings import KINDS, cheapest, levenshtein, pieces, variants

LETTERS = st.text("abcде\u200b ", max_size=12)
SENTENCE = "You are such a stupid idiot, and I don't want your advice."
OTHERS = {"idiot": ("person", "nitwit"), "stupid": ("unwise",)}


def words(word: str) -> tuple[str, ...]:
    return OTHERS.get(word, ())


def table(a: str, b: str) -> int:
    """The distance by the textbook."""
    row = list(range(len(b) + 1))
    for i, c in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, d in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (c != d))
    return row[-1]


@given(LETTERS, LETTERS)
@settings(max_examples=300, deadline=None)
def test_the_distance_is_the_one_of_the_textbook(a: str, b: str) -> None:
    assert levenshtein(a, b) == levenshtein(b, a) == table(a, b)


def test_long_strings_are_compared_in_milliseconds() -> None:
    rng = np.random.default_rng(0)
    a, b = ("".join(rng.choice(list("abcdefgh "), 4000)) for _ in range(2))
    began = time.process_time()
    levenshtein(a, b)
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_one_edit_of_a_kind_is_allowed_by_that_kind(kind: str) -> None:
    source = words if kind == "word" else None
    within = cm.Text(14, (kind,), words=source)  # type: ignore[arg-type]
    parts, seen = pieces(SENTENCE), 0
    for place in range(1, len(parts), 2):
        for new in variants(parts[place], kind, source):  # type: ignore[arg-type]
            changed = "".join([*parts[:place], new, *parts[place + 1 :]])
            assert within.check([changed], [SENTENCE])[0], new
            seen += 1
    assert seen > 1


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("swap", "siht is it"), ("swap", "this is ti!"), ("insert", "this i\u200bs it"), ("delete", "th is it"), ("delete", "is it"),
        ("substitute", "thzs is it"), ("case", "THat is it"), ("homoglyph", "thxs is it"), ("invisible", "this i s it"),
        ("invisible", "this i\x08s it"), ("bidirectional", "\u202ethis is it"), ("bidirectional", "this is \u202eit\u202c"),
        ("backspace", "this is\x08 it"), ("word", "that is it"),
    ],
)  # fmt: skip
def test_what_no_allowed_edit_makes_is_refused(kind: str, changed: str) -> None:
    within = cm.Text(9, (kind,), words=words if kind == "word" else None)  # type: ignore[arg-type]
    assert levenshtein(changed, "this is it") <= 9
    assert not within.check([changed], ["this is it"])[0]


def test_edits_are_counted_by_code_points_and_none_is_forgotten() -> None:
    within = cm.Text(2)
    origin = "an idiot"
    for changed, size in (("an idito", 2), ("an іdiоt", 2), ("an i\u200bd\u200bi\u200bot", 3), ("an \u202etoidi\u202c", 5)):
        assert within.measure([changed], [origin])[0] == size
        assert within.check([changed], [origin])[0] == (size <= 2)
    assert cm.Text(5).check(["an \u202etoidi\u202c"], [origin])[0]  # it reads the same
    assert not cm.Text(5, ("insert", "delete")).check(["an \u202etoidi\u202c"], [origin])[0]
    assert cm.Text(0).check([origin], [origin])[0] and not cm.Text(0).check(["an idioT"], [origin])[0]


def test_no_word_disappears() -> None:
    within = cm.Text(5, ("delete",))
    assert within.check(["an dit"], ["an idiot"])[0]
    assert not within.check(["an it"], ["an idiot"])[0]
    assert not within.check(["an "], ["an idiot"])[0]


def test_what_is_kept_is_not_touched() -> None:
    for keep in (("@anna",), lambda text: [(text.index("@anna"), text.index("@anna") + 5)]):
        within = cm.Text(2, keep=keep)
        assert within.check(["dear @anna, yuo"], ["dear @anna, you"])[0]
        assert within.check(["dearr @anna, you"], ["dear @anna, you"])[0]
        assert not within.check(["dear @ann, you"], ["dear @anna, you"])[0]
        assert not within.check(["dear @an\u200bna, you"], ["dear @anna, you"])[0]


def test_a_condition_of_the_users_own_is_asked() -> None:
    within = cm.Text(3, valid=lambda changed, original: len(changed) == len(original))
    assert list(within.check(["abv", "abcd", "acb"], ["abc"] * 3)) == [True, False, True]
    assert list(cm.Text(3, ("substitute",)).check(["abv", "abp"], ["abc"] * 2)) == [True, False]  # p is no neighbour of c


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_what_is_proposed_can_be_allowed_and_is_counted(seed: int) -> None:
    within, rng = cm.Text(30, words=words), np.random.default_rng(seed)
    changed = within.propose(SENTENCE, SENTENCE, rng)
    assert within.check([changed], [SENTENCE])[0]
    assert within.measure([changed], [SENTENCE])[0] == table(changed, SENTENCE)


@given(st.text("ab\u200b\u202e\u202c\u2066\u2069\b\n 1І", max_size=14), st.text("ab1 ", max_size=10))
@settings(max_examples=300, deadline=None)
def test_any_string_is_judged(claim: str, origin: str) -> None:
    allowed = bool(cm.Text(4).check([claim], [origin])[0])
    assert not allowed or table(claim, origin) <= 4


def test_a_constraint_is_told_by_what_it_allows_and_not_by_addresses() -> None:
    from casemate.core import containers

    every = [
        cm.Text(), cm.Text(6), cm.Text(kinds=("swap",)), cm.Text(words=words), cm.Text(keep=("x",)), cm.Text(valid=levenshtein),  # type: ignore[arg-type]
        cm.Bytes(**containers.zip_()), cm.Bytes(**containers.png()), cm.Bytes(**containers.zip_(), grow=1),
    ]  # fmt: skip
    assert len({repr(one) for one in every}) == len(every)
    assert not any(" at 0x" in repr(one) for one in every)


def test_cheapest_counts_what_the_distance_counts() -> None:
    from casemate.core.strings import Rules

    rules = Rules(frozenset(KINDS), words)
    assert cheapest("an idito", "an idiot", 5, rules) == 2  # a swap
    assert cheapest("an person", "an idiot", 9, rules) == levenshtein("person", "idiot")
    assert cheapest("an idito", "an idiot", 1, rules) is None


@pytest.mark.parametrize(
    ("options", "says"),
    [({"most": -1}, "most=-1"), ({"most": 1.5}, "whole number"), ({"kinds": "swap"}, "one string"), ({"kinds": ("word",)}, "words=")],
)
def test_a_wrong_option_is_told(options: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        cm.Text(**options)  # type: ignore[arg-type]


def test_an_unknown_kind_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match="homoglyph"):
        cm.Text(kinds=("homoglyphs",))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="bytes"):
        cm.Text().check([b"a"], ["a"])  # type: ignore[list-item]


# what looks alike ---------------------------------------------------------------------------------------------------


def test_look_alikes_belong_to_one_letter_and_to_no_ascii() -> None:
    every = [near for all_near in LOOKALIKES.values() for near in all_near]
    assert len(every) == len(set(every))
    assert not any(near.isascii() for near in every)
    for plain, all_near in LOOKALIKES.items():
        assert unicodedata.normalize("NFKC", all_near[-1]) == plain  # the full-width form
        scripts = {unicodedata.name(near).split()[0] for near in all_near}
        assert scripts <= {"CYRILLIC", "GREEK", "LATIN", "FULLWIDTH", "ARMENIAN", "CHEROKEE", "SMALL"}, plain


def test_what_is_invisible_is_of_no_width() -> None:
    assert all(unseen(c) for c in INVISIBLE + BIDI + "\u034f\u3164\ufe0f\U000e0061\x07")
    assert not any(unseen(c) for c in "aé \t\n漢🙂")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("an \u202etoidi\u202c here", "an idiot here"), ("\u202eba\u202c", "ab"), ("plain", "plain"), ("\u202eba", "ab"),
        ("a\u202cb\u2069c", "abc"), ("\u202dab\u202c", "ab"), ("x\u202e1\u2066ab\u20692\u202cy", "x2ab1y"), ("\u202eba\ncd", "ab\ncd"),
        ("\u202c\u2066\u202e\u2066b\u2069\u2066a\u2069\u202c\u2069\u202c", "ab"),  # the ten controls of arXiv:2106.09898
        ("\u202e" * 5000 + "ab", "ba"),  # 125 levels, an odd number, and no deeper
    ],
)  # fmt: skip
def test_text_is_drawn_as_a_reader_sees_it(text: str, seen: str) -> None:
    assert drawn(text) == seen


def test_a_backspace_takes_back_and_a_skeleton_is_ascii() -> None:
    assert erased("idx\biot") == "idiot" and erased("\b\ba\n\bb") == "a\nb" and erased("ab\b\bc") == "c"
    assert skeleton("іdіоt") == "idiot" and skeleton("ｉｄｉｏｔ") == "idiot"
    assert skeleton("привет, мир") == "привет, мир"  # words of their own script
    assert unleet("id1ot, 2021! cr@p!") == "idiot, 2021! crap!"
