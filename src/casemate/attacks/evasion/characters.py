"""Typing mistakes on purpose: letters of the words that matter, swapped, dropped, doubled or mistyped."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

import numpy as np

from ...core.adversary import Need
from ...core.attack import Answer, Ask, Claim, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ...core.strings import Kind
from ._text import Search, search

KINDS: tuple[Kind, ...] = ("swap", "insert", "delete", "substitute", "case")


@attack(
    "evasion.characters",
    needs=Need.LABEL,
    scope="dialogue",
    modality=("text",),
    within=("Text",),
    papers=("arXiv:1801.04354", "arXiv:1905.11268"),
    aka=("characters", "DeepWordBug", "TextBugger", "typos", "char swap"),
    spends="one question for each word, then at most candidates for each edit; at most queries per row",
    static_cost=lambda a: a.queries,
)
class Characters:
    """Edit letters of the words a decision hangs on, in ways that a reader takes for mistakes.

    Each word is left out once; the words whose loss helps most are edited first, and of all edits asked at a step the best
    stays. Where scores are hidden, words are asked on their own too, and then several words are edited at random and taken
    back one by one. The papers draw one edit of a word; here several are compared, because a question about a comment costs
    little. No text is asked twice.

    Args:
        queries: Most queries of a row.
        candidates: Most edits of a word that are asked at a step.
        tries: Random sets of edits, where only decisions show or the best edits led nowhere.
    """

    edits: ClassVar[tuple[Kind, ...]] = KINDS  # the kinds it makes: one of them must be allowed

    queries: int = 300
    candidates: int = 24
    tries: int = 128

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Generator[Ask | Claim, Answer, Any]:
        of = Search("evasion.characters", self.edits, oracle, case, rng, self.queries)
        yield from search(of, self.candidates, self.tries)
