"""Constraints on strings, of bytes and of characters: what may be changed so that the input still works or reads the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .confusables import drawn
from .errors import BadInput, UnknownName
from .strings import KINDS, Kind, Rules, Words, cheapest, levenshtein, pieces, variants

Edit = Callable[[bytes, bytes, np.random.Generator], bytes]


@dataclass(frozen=True, slots=True)
class Bytes:
    """Byte strings that still work: every change must pass the format's own parser.

    Args:
        valid: ``valid(changed, original) -> bool``; really parses. It runs at the attacker's cost and again by the judge.
        edit: ``edit(current, original, generator) -> changed``: one random change the attacker knows how to make.
        grow: Most bytes that may be added.
    """

    valid: Callable[[bytes, bytes], bool]
    edit: Edit
    grow: int = 4096

    def __repr__(self) -> str:
        return f"Bytes(valid={_named(self.valid)}, edit={_named(self.edit)}, grow={self.grow})"

    def check(self, claim: Sequence[bytes], origin: Sequence[bytes]) -> NDArray[np.bool_]:
        return np.array([len(c) <= len(o) + self.grow and bool(self.valid(c, o)) for c, o in zip(claim, origin, strict=True)])

    def measure(self, claim: Sequence[bytes], origin: Sequence[bytes]) -> NDArray[np.float64]:
        """Bytes added (or removed), a cheap lower bound on the edit distance."""
        return np.array([float(_changed(c, o)) for c, o in zip(claim, origin, strict=True)])

    def propose(self, row: bytes, origin: bytes, rng: np.random.Generator) -> bytes:
        """One random edit of `row`, not yet checked."""
        return self.edit(row, origin, rng)


def _named(function: Any) -> str:
    """A function by where it was written, and by what it is a method of: the same in every process, as its address is not."""
    if not callable(function):
        return repr(function)
    owner = getattr(function, "__self__", None)
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    return name if owner is None else f"{name} of {owner!r}"


def _changed(claim: bytes, origin: bytes) -> int:
    """Bytes outside the common prefix and suffix."""
    short = min(len(claim), len(origin))
    prefix = _alike(claim[:short], origin[:short])
    rest = short - prefix
    suffix = _alike(claim[len(claim) - rest :][::-1], origin[len(origin) - rest :][::-1])
    return max(len(claim), len(origin)) - prefix - suffix


def _alike(a: bytes, b: bytes) -> int:
    """How many bytes two strings of one length share from the start."""
    differ = np.flatnonzero(np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8))
    return int(differ[0]) if len(differ) else len(a)


@dataclass(frozen=True, slots=True)
class Text:
    """Strings changed by few edits of certain kinds, so that a reader still reads the same.

    The size of a change is the Levenshtein distance on code points: a swap counts two, an invisible character one. A
    change is allowed where its size is at most `most` and edits of the allowed kinds alone can have made it.

    Args:
        most: Most edits.
        kinds: What an edit may be. ``swap`` (two neighbours), ``insert`` (a character one sees), ``delete`` (never two in a
            row: no word disappears), ``substitute`` (a neighbouring key, or a digit that stands for the letter), ``case``,
            ``homoglyph``, ``invisible``, ``bidirectional`` (controls that turn letters around, in an order that reads the
            same), ``backspace`` (a character and the control that takes it back), ``word``. Left out, all of them; ``word``
            only with a source of words.
        words: ``words(word) -> alternatives``: what may stand in place of a word, as it is written. Asked again by the
            judge, so it must always answer the same.
        valid: ``valid(changed, original) -> bool``, a further condition of the user's own.
        keep: What no edit may touch: strings, or ``keep(original) -> [(start, end), ...]``.
    """

    most: int = 5
    kinds: tuple[Kind, ...] = ()
    words: Words | None = None
    valid: Callable[[str, str], bool] | None = None
    keep: Sequence[str] | Callable[[str], Sequence[tuple[int, int]]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 0:
            raise BadInput(f"most={self.most!r} is not allowed; give a whole number of edits from 0")
        if isinstance(self.kinds, str):
            raise BadInput(f"kinds={self.kinds!r} is one string; give a tuple of kinds")
        for kind in self.kinds:
            if kind not in KINDS:
                raise UnknownName("kind of edit", str(kind), KINDS)
        if "word" in self.kinds and self.words is None:
            raise BadInput("kinds names 'word' and there is no source of words; give words=, a function word -> alternatives")
        chosen = tuple(self.kinds) or tuple(kind for kind in KINDS if kind != "word" or self.words is not None)
        object.__setattr__(self, "kinds", chosen)

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={_named(getattr(self, name))}" for name in ("words", "valid", "keep"))
        return f"Text(most={self.most}, kinds={self.kinds}, {own})"

    def check(self, claim: Sequence[str], origin: Sequence[str]) -> NDArray[np.bool_]:
        return np.array([self._allowed(c, o) for c, o in zip(claim, origin, strict=True)], bool)

    def measure(self, claim: Sequence[str], origin: Sequence[str]) -> NDArray[np.float64]:
        """Edits between each claim and its origin: the Levenshtein distance on code points, ``(n,)``."""
        return np.array([float(levenshtein(c, o)) for c, o in zip(claim, origin, strict=True)])

    def propose(self, row: str, origin: str, rng: np.random.Generator) -> str:
        """One random edit of one word of `row`, not yet checked; the row itself where none was found."""
        parts = pieces(row)
        for _ in range(4):  # a word of one letter has no swap, and most kinds have nothing for a number
            if len(parts) < 3:
                return row
            place = 1 + 2 * int(rng.integers(len(parts) // 2))
            made = variants(parts[place], self.kinds[int(rng.integers(len(self.kinds)))], self.words)
            if made:
                return "".join([*parts[:place], made[int(rng.integers(len(made)))], *parts[place + 1 :]])
        return row

    def kept(self, origin: str) -> tuple[tuple[int, int], ...]:
        """Where the parts lie that no edit may touch: ``(start, end)`` each."""
        if callable(self.keep):
            return tuple((int(a), int(b)) for a, b in self.keep(origin))
        return tuple(m.span() for text in self.keep if text for m in re.finditer(re.escape(text), origin))

    def _allowed(self, claim: str, origin: str) -> bool:
        if not isinstance(claim, str) or not isinstance(origin, str):
            raise BadInput(f"Text constrains strings; got {type(claim).__name__} and {type(origin).__name__}")
        if claim == origin:
            return True
        if abs(len(claim) - len(origin)) > self.most or levenshtein(claim, origin) > self.most:
            return False
        rules = Rules(frozenset(self.kinds), self.words, self.kept(origin))
        if cheapest(claim, origin, self.most, rules) is None:
            # An override of direction turns letters around: then it is what a reader sees that must have come of edits.
            plain = "bidirectional" in self.kinds and drawn(origin) == origin
            if not plain or drawn(claim) == claim or cheapest(drawn(claim), origin, self.most, rules) is None:
                return False
        return self.valid is None or bool(self.valid(claim, origin))
