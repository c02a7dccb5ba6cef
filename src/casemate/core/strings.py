"""Changes of text, one at a time: how far two strings are apart, what one edit of a kind makes of a word, and whether a
string can have come from another by edits of certain kinds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from .confusables import BIDI, INVISIBLE, LOOKALIKES, MARKS, PDF, RLO, unseen

Kind = Literal[
    "swap", "insert", "delete", "substitute", "case", "homoglyph", "invisible", "bidirectional", "backspace", "word"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Words = Callable[[str], Sequence[str]]

_WORD = re.compile(r"(\w+(?:['’]\w+)*)")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_LEET = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7+", "z": "2"}
_SINGLE: tuple[Kind, ...] = ("substitute", "case", "homoglyph")
_SIGNS = " .-_*'"  # what people put between the letters of a word


def _near_keys() -> dict[str, str]:
    """Letters within one key on a QWERTY keyboard, rows half a key apart, and the digit that a letter is written as."""
    found = {}
    for y, row in enumerate(_ROWS):
        for x, c in enumerate(row):
            rows = [(v, r) for v, r in enumerate(_ROWS) if abs(v - y) <= 1]
            near = "".join(k for v, r in rows for i, k in enumerate(r) if k != c and abs(i + v / 2 - x - y / 2) <= 1)
            found[c], found[c.upper()] = near + _LEET.get(c, ""), near.upper() + _LEET.get(c, "")
    return found


_KEYS = _near_keys()


def levenshtein(a: str, b: str) -> int:
    """Fewest code points to insert, delete or replace to make `b` of `a` (bit vectors of Myers 1999, Hyyrö 2003)."""
    head = _shared(a, b)
    a, b = a[head:], b[head:]
    tail = _shared(a[::-1], b[::-1])
    a, b = sorted((a[: len(a) - tail], b[: len(b) - tail]), key=len)
    if not a:
        return len(b)
    mask, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    places: dict[str, int] = {}
    for i, c in enumerate(a):
        places[c] = places.get(c, 0) | 1 << i
    more, less, distance = mask, 0, len(a)
    for c in b:
        same = places.get(c, 0)
        vertical = same | less
        same = (((same & more) + more) ^ more) | same
        up, down = less | (~(same | more) & mask), more & same
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & mask, down << 1 & mask
        more, less = down | (~(vertical | up) & mask), up & vertical
    return distance


def _shared(a: str, b: str) -> int:
    """How many characters two strings share from the start, by halving."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low


def pieces(text: str) -> list[str]:
    """The text cut into separators and words in turns: every second piece, from the first on, is a word."""
    return _WORD.split(text)


def variants(word: str, kind: Kind, words: Words | None = None) -> list[str]:
    """All that one edit of a kind makes of a word, in a fixed order and without the word itself."""
    n, made = len(word), []
    if kind == "swap":
        made = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(n - 1)]
    elif kind == "delete":
        made = [word[:i] + word[i + 1 :] for i in range(n if n > 1 else 0)]
    elif kind == "insert":
        made = [word[:i] + c + word[i:] for i in range(1, n) for c in (word[i - 1], *_SIGNS)]
    elif kind in ("substitute", "case", "homoglyph"):
        made = [word[:i] + c + word[i + 1 :] for i in range(n) for c in _instead(word[i], kind)]
    elif kind == "invisible":
        made = [word[:i] + c + word[i:] for i in range(1, n) for c in INVISIBLE]
    elif kind == "backspace":
        made = [word[:i] + word[i - 1] + "\b" + word[i:] for i in range(1, n)]
    elif kind == "bidirectional":
        made = [word[:i] + c + word[i:] for i in range(1, n) for c in MARKS[:1]]
        made += [word[:i] + RLO + word[i : i + k][::-1] + PDF + word[i + k :] for k in {2, n} for i in range(n - k + 1) if k > 1]
    elif words is not None:
        made = [str(other) for other in words(word)]
    return [other for other in dict.fromkeys(made) if other != word]


def _instead(c: str, kind: Kind) -> str:
    """What a kind allows in place of one character."""
    if kind == "case":
        return c.swapcase() if len(c.swapcase()) == 1 else ""
    return (_KEYS if kind == "substitute" else LOOKALIKES).get(c, "")


@dataclass(frozen=True, slots=True)
class Rules:
    """Which edits there are: kinds, alternatives of words, and spans ``(start, end)`` of the original that stay."""

    kinds: frozenset[str]
    words: Words | None = None
    kept: tuple[tuple[int, int], ...] = ()


@lru_cache(1 << 16)
def _replaces(kinds: frozenset[str], a: str, b: str) -> bool:
    """Whether one edit puts `b` in the place of `a`."""
    return any(kind in kinds and b in _instead(a, kind) for kind in _SINGLE)


@lru_cache(1 << 16)
def _inserts(kinds: frozenset[str], c: str) -> bool:
    """Whether one edit puts `c` in. What turns letters around, or takes them back, is not put in by itself."""
    if c in BIDI or unicodedata.category(c) == "Cc":
        return False
    return ("invisible" if unseen(c) else "insert") in kinds


def cheapest(claim: str, origin: str, most: int, rules: Rules) -> int | None:
    """Fewest edits of the allowed kinds that make `claim` of `origin`; None where more than `most` are needed.

    A swap counts two, a word as many as lie between it and its alternative: what `levenshtein` counts for them. Two
    neighbours are never both deleted, so that no word disappears.
    """
    head, tail = _alike(claim, origin)
    kept = {i - head for start, end in rules.kept for i in range(start, end)}
    inside = {i - head for start, end in rules.kept for i in range(start + 1, end)}
    claim, origin = claim[head : len(claim) - tail], origin[head : len(origin) - tail]
    whole, goal = len(origin), len(claim)
    starts = _starts(origin, kept, rules)
    # By how much of the original and of the claim is dealt with, and whether the last edit was a deletion: cost so far.
    front: list[dict[tuple[int, bool], int]] = [{} for _ in range(whole + 1)]
    front[0][0, False] = 0

    def reach(i: int, j: int, cost: int, deleted: bool = False) -> None:
        if cost + abs((whole - i) - (goal - j)) <= most and cost < front[i].get((j, deleted), most + 1):
            front[i][j, deleted] = cost

    for i in range(whole + 1):
        row = front[i]
        band = range(max(0, i - most), min(goal, i + most) + 1)
        for j, deleted in ((j, deleted) for j in band for deleted in (False, True) if (j, deleted) in row):
            cost = row[j, deleted]
            if i < whole and j < goal and origin[i] == claim[j]:
                reach(i + 1, j + 1, cost)
            if cost < most:
                _edits(claim, origin, (i, j, cost, deleted), rules, kept, inside, reach)
                for end, other, price in starts.get(i, ()):
                    if claim.startswith(other, j):
                        reach(end, j + len(other), cost + price)
    return min((front[whole][goal, last] for last in (False, True) if (goal, last) in front[whole]), default=None)


def _edits(
    claim: str, origin: str, at: tuple[int, int, int, bool], rules: Rules, kept: set[int], inside: set[int],
    reach: Callable[..., None],
) -> None:  # fmt: skip
    """All single edits of characters that go on from one place of the two strings. No two deletions follow each other."""
    i, j, cost, deleted = at
    free = i < len(origin) and i not in kept
    if free and not deleted and "delete" in rules.kinds:
        reach(i + 1, j, cost + 1, True)
    if j == len(claim):
        return
    if i not in inside:
        if _inserts(rules.kinds, claim[j]):
            reach(i, j + 1, cost + 1)
        if "backspace" in rules.kinds and claim[j + 1 : j + 2] == "\b" and claim[j].isprintable():
            reach(i, j + 2, cost + 2)
    if free and _replaces(rules.kinds, origin[i], claim[j]):
        reach(i + 1, j + 1, cost + 1)
    pair = origin[i : i + 2]
    if free and "swap" in rules.kinds and len(pair) == 2 and i + 1 not in kept and claim[j : j + 2] == pair[::-1]:
        reach(i + 2, j + 2, cost + 2)


def _starts(origin: str, kept: set[int], rules: Rules) -> dict[int, list[tuple[int, str, int]]]:
    """By where a word starts: its end, each alternative, and what it counts."""
    if "word" not in rules.kinds or rules.words is None:
        return {}
    found = {}
    for word in _WORD.finditer(origin):
        if not kept & set(range(*word.span())):
            others = variants(word.group(), "word", rules.words)
            found[word.start()] = [(word.end(), other, levenshtein(word.group(), other)) for other in others]
    return found


def _alike(a: str, b: str) -> tuple[int, int]:
    """How much two strings share at both ends, in whole words: no edit need be looked for there."""
    head = max(a.rfind(" ", 0, _shared(a, b)), 0)
    tail = _shared(a[head:][::-1], b[head:][::-1])
    place = a.find(" ", len(a) - tail)
    return head, 0 if place < 0 else len(a) - place
