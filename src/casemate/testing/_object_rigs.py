"""Rigs whose inputs are no arrays: bytes, text, and tables as frames."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Evade
from ..core.sequences import Bytes, Text
from ..core.table import Column, Table
from .rig import ROWS, Setup, Tally, Variant, counted


def _heavy(x: list[bytes]) -> NDArray[np.float64]:
    """How much of each string is in the upper half of the alphabet of bytes."""
    share = np.array([np.mean(np.frombuffer(row, np.uint8) > 127) for row in x])
    up = 1 / (1 + np.exp(-30 * (share - 0.5)))
    return np.stack([1 - up, up], 1)


def _append(row: bytes, origin: bytes, rng: np.random.Generator) -> bytes:
    return row + rng.integers(0, 256, int(rng.integers(1, 6)), dtype=np.uint8).tobytes()


def _starts(changed: bytes, origin: bytes) -> bool:
    return changed.startswith(origin)


def bytes_setup(variant: Variant) -> Setup:
    from ..targets.wrap import wrap

    tally, rng = Tally(), np.random.default_rng(4)
    shares = np.linspace(0.36, 0.47, len(ROWS))
    x = [bytes(np.where(rng.random(40) < s, 200, 60).astype(np.uint8)) for s in shares]
    target = wrap(counted(tally, _heavy), output="scores", classes=2, version="1", name="toy bytes")
    y = target.respond(x).label
    tally.rows = 0
    within = Bytes(valid=_starts, edit=_append, grow=64)
    return Setup(case=Evade(x, y, within=within, row=ROWS.copy()), target=target, tally=tally)


RUDE = {"idiot": 2.0, "stupid": 1.5, "crap": 1.2, "fool": 1.1, "nice": -0.8, "thanks": -1.0}
OTHER_WORDS = {"idiot": ("person",), "stupid": ("unwise", "silly"), "crap": ("stuff",), "fool": ("fellow",)}
COMMENTS = (
    "you are an idiot", "what a stupid thing to say", "Thanks, you fool!", "this is crap and you are stupid",
    "don't be such a fool", "idiot, idiot, idiot", "nice try, stupid",
)  # fmt: skip


def _rude(x: list[str]) -> NDArray[np.float64]:
    """How rude the words are, each by itself: a model of a bag of words, as real ones are."""
    z = np.array([sum(RUDE.get(word, 0.0) for word in re.findall(r"\w+", row.lower())) for row in x])
    up = 1 / (1 + np.exp(-4 * (z - 0.4)))
    return np.stack([1 - up, up], 1)


def _other_words(word: str) -> tuple[str, ...]:
    return OTHER_WORDS.get(word.lower(), ())


def text_setup(variant: Variant) -> Setup:
    from ..targets.wrap import wrap

    tally = Tally()
    target = wrap(counted(tally, _rude), output="scores", classes=2, version="1", name="toy comments")
    case = Evade(list(COMMENTS), np.ones(len(COMMENTS), np.int64), within=Text(6, words=_other_words), row=ROWS.copy())
    return Setup(case=case, target=target, tally=tally)


def _credit(frame: Any) -> NDArray[np.float64]:
    z = 0.02 * (frame["income"].to_numpy(float) - 50) - 0.1 * frame["loans"].to_numpy(float)
    z = z + 0.3 * (frame["home"].to_numpy() == "own") - 0.01 * (frame["age"].to_numpy(float) - 40)
    up = 1 / (1 + np.exp(-6 * z))
    return np.stack([1 - up, up], 1)


def table_setup(variant: Variant) -> Setup:
    import pandas

    from ..targets.wrap import wrap

    tally, rng = Tally(), np.random.default_rng(6)
    n = 5  # frames are slow, row by row
    x = pandas.DataFrame({
        "income": rng.uniform(20, 80, n), "loans": rng.integers(0, 5, n), "age": rng.integers(20, 70, n),
        "home": np.where(rng.random(n) < 0.5, "own", "rent"),
    })  # fmt: skip
    target = wrap(counted(tally, _credit), output="scores", classes=2, version="1", name="toy credit")
    y = target.respond(x).label
    tally.rows = 0
    within = Table(columns={
        "income": Column(kind="real", low=0, high=100), "loans": Column(kind="int", low=0, high=9, direction=1),
        "age": Column(kind="int", low=18, high=99, immutable=True), "home": Column(kind="category", values=("own", "rent")),
    })  # fmt: skip
    return Setup(case=Evade(x, y, within=within, row=ROWS[:n].copy()), target=target, tally=tally)
