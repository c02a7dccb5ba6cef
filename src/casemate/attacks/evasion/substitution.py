"""Other words for the words that matter, from a source the user brings."""

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


@attack(
    "evasion.substitution",
    needs=Need.LABEL,
    scope="dialogue",
    modality=("text",),
    within=("Text",),
    papers=("arXiv:1907.11932",),
    aka=("substitution", "TextFooler", "word substitution", "synonyms"),
    spends="one question for each word, then at most candidates for each word; at most queries per row",
    static_cost=lambda a: a.queries,
)
class Substitution:
    """Put another word in the place of the words a decision hangs on.

    The alternatives are those of the constraint, ``Text(words=...)``: a thesaurus, neighbours of an embedding, a list by
    hand. TextFooler brings an embedding and a sentence encoder to choose them; here the user answers for what means the
    same. Importance is by deletion, as in the paper; of all alternatives of a word the best stays.

    Args:
        queries: Most queries of a row.
        candidates: Most alternatives of a word that are asked; 50 in the paper.
        tries: Random sets of alternatives, where only decisions show or the best of each word led nowhere.
    """

    edits: ClassVar[tuple[Kind, ...]] = ("word",)  # the kinds it makes: one of them must be allowed

    queries: int = 300
    candidates: int = 50
    tries: int = 128

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Generator[Ask | Claim, Answer, Any]:
        of = Search("evasion.substitution", self.edits, oracle, case, rng, self.queries)
        yield from search(of, self.candidates, self.tries)
