"""Characters that look alike, characters that nobody sees, and characters that turn a line around.

The look-alikes were picked by hand from the Unicode code charts (Latin, IPA, Greek, Cyrillic, Armenian, Cherokee, Roman
numerals, full-width forms); Unicode Technical Standard 39 calls what they fold to a skeleton. The list is short on purpose:
only characters that pass for the letter at a glance. What is invisible and what turns a line around is in the Unicode
Standard, chapter 23, and in Unicode Standard Annex 9.
"""

from __future__ import annotations

import re
import unicodedata

# ASCII letter: what passes for it. Full-width forms are added below, by their distance of 0xFEE0.
_NEAR = {
    "a": "аɑα", "b": "Ьƅ", "c": "сϲⅽ", "d": "ԁⅾ", "e": "еҽ", "g": "ɡց", "h": "һ", "i": "іıι", "j": "јϳ", "k": "кκ",
    "l": "ӏⅼ", "m": "мⅿ", "n": "ո", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "гᴦ", "s": "ѕ", "t": "тτ", "u": "υս",
    "v": "νѵⅴ", "w": "ԝѡ", "x": "хχⅹ", "y": "уγү", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "СϹ", "D": "Ꭰ", "E": "ЕΕ", "F": "Ϝ", "G": "Ԍ", "H": "НΗ", "I": "ІΙ", "J": "Ј", "K": "КΚ",
    "L": "Ꮮ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "Q": "Ԛ", "R": "Ꭱ", "S": "Ѕ", "T": "ТΤ", "U": "Ս", "V": "Ѵ",
    "W": "Ԝ", "X": "ХΧ", "Y": "УΥ", "Z": "Ζ",
}  # fmt: skip
_WIDE = 0xFEE0
LOOKALIKES: dict[str, str] = {
    c: _NEAR.get(c, "") + chr(ord(c) + _WIDE) for c in map(chr, range(0x30, 0x7B)) if c.isalnum()
}  # fmt: skip
_PLAIN = {near: plain for plain, all_near in LOOKALIKES.items() for near in all_near}

# Zero-width space, non-joiner, joiner, word joiner, no-break space of zero width, soft hyphen.
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
# Not of the class of format characters, and yet seen by nobody: the joiner of graphemes, fillers, selectors of variants.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")

RLO, PDF = "\u202e", "\u202c"  # from here on right to left, whatever the letters say; and the end of that
MARKS = "\u200e\u200f\u061c"  # of a direction, invisible themselves
_OPEN, _ISOLATE, _SHUT = "\u202a\u202b\u202d\u202e", "\u2066\u2067\u2068", "\u2069"
BIDI = MARKS + _OPEN + PDF + _ISOLATE + _SHUT

_DEEPEST = 125  # levels that Annex 9 nests; controls beyond are without effect

_LETTERS = re.compile(r"[^\W_]+")
_LEET = str.maketrans("013456789@$!+", "oieasgtbgasit")
_LEET_WORD = re.compile(r"[\w@$!+]+")


def unseen(c: str) -> bool:
    """Whether a character is drawn as nothing at all: format and control characters, fillers, selectors of variants."""
    return (unicodedata.category(c) in ("Cf", "Cc") and c not in "\t\n\r") or _UNSEEN.match(c) is not None


def drawn(text: str) -> str:
    """The text in the order a reader sees it: overrides of direction carried out, and their marks gone.

    Left-to-right letters are turned around by an override only; the marks inside it may isolate a part that keeps its order.
    A line ends all that was opened on it.
    """
    if not any(c in BIDI for c in text):
        return text
    return "\n".join("".join(_line(line, 0, "", 0)[0]) for line in text.split("\n"))


def _line(text: str, at: int, until: str, depth: int) -> tuple[list[str], int]:
    """Units in visual order from `at` to the character that shuts this level, and the place after it."""
    units: list[str] = []
    while at < len(text):
        c = text[at]
        at += 1
        if until and c == until:
            break
        if until == PDF and c == _SHUT:  # an isolate ends all that was opened inside it
            at -= 1
            break
        if c in _OPEN + _ISOLATE and depth < _DEEPEST:
            inner, at = _line(text, at, PDF if c in _OPEN else _SHUT, depth + 1)
            units += inner[::-1] if c == RLO else inner if c in _OPEN else ["".join(inner)]
        elif c not in BIDI:
            units.append(c)
    return units, at


def erased(text: str) -> str:
    """The text as a terminal leaves it: a character and the backspace after it are gone."""
    if "\b" not in text:
        return text
    left: list[str] = []
    for c in text:
        if c != "\b":
            left.append(c)
        elif left and left[-1] != "\n":
            left.pop()
    return "".join(left)


def without_unseen(text: str) -> str:
    """The text without characters that are drawn as nothing."""
    return text if text.isascii() and text.isprintable() else "".join(c for c in text if not unseen(c))


def skeleton(text: str) -> str:
    """Look-alikes as the ASCII letters they pass for, in words that hold an ASCII letter (or a form of one: full-width, bold)
    or nothing but look-alikes.

    A word of another script that has letters of its own is left as it is.
    """
    return text if text.isascii() else _LETTERS.sub(_folded, text)


def _folded(word: re.Match[str]) -> str:
    text = word.group()
    latin = any(unicodedata.normalize("NFKC", c).isascii() and c.isalpha() for c in text)
    if latin or all(c in _PLAIN or c.isascii() for c in text):
        return "".join(_PLAIN.get(c, c) for c in text)
    return text


def unleet(text: str) -> str:
    """Digits and signs that stand for letters, as letters, in words that hold a letter as well. Numbers stay."""
    return _LEET_WORD.sub(lambda m: _spelled(m.group()), text)


def _spelled(word: str) -> str:
    core = word.rstrip("!")  # an exclamation mark at the end is one
    return core.translate(_LEET) + word[len(core) :] if any(c.isalpha() for c in core) else word
