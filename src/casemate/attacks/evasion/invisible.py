"""Changes that a reader does not see: look-alikes, characters without a width, controls that turn letters around."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import Answer, Ask, Claim, attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.strings import Kind, variants
from ._text import Draft, Search, search, shrink

Talk = Generator[Ask | Claim, Answer, Any]
KINDS: tuple[Kind, ...] = ("homoglyph", "invisible", "bidirectional", "backspace")


@attack(
    "evasion.invisible",
    needs=Need.LABEL,
    scope="dialogue",
    modality=("text",),
    within=("Text",),
    papers=("arXiv:2106.09898",),
    aka=("invisible", "bad characters", "homoglyphs", "imperceptible perturbations", "trojan source"),
    spends="greedy: as evasion.characters; evolution: population * (1 + rounds); at most queries per row",
    static_cost=lambda a: a.queries,
)
class Invisible:
    """Put in characters that nobody sees, and letters that look the same.

    ``greedy`` goes by the importance of words, as `evasion.characters` does. ``evolution`` is the differential evolution of
    the paper: a perturbation is two numbers, which edit and where, and a population of `budget` of them each is bred for
    the score. The paper reorders with ten controls; here one override around the letters does it, which counts fewer edits.

    Args:
        queries: Most queries of a row.
        candidates: Most edits of a word that are asked at a step (greedy, and where a success is made smaller).
        tries: Random sets of edits, where only decisions show or the best edits led nowhere (greedy).
        how: ``greedy`` or ``evolution``.
        budget: Perturbations of one text (evolution); 1 to 5 in the paper.
        population: Texts of a generation (evolution), at least 4.
        rounds: Generations after the first (evolution).
    """

    edits: ClassVar[tuple[Kind, ...]] = KINDS  # the kinds it makes: one of them must be allowed

    queries: int = 300
    candidates: int = 24
    tries: int = 128
    how: Literal["greedy", "evolution"] = "greedy"
    budget: int = 5
    population: int = 32
    rounds: int = 10

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        if self.how not in ("greedy", "evolution") or self.population < 4 or self.budget < 1:
            raise BadInput(
                f"evasion.invisible: how={self.how!r}, population={self.population!r}, budget={self.budget!r}; "
                "give greedy or evolution, a population from 4 and a budget from 1"
            )
        of = Search("evasion.invisible", self.edits, oracle, case, rng, self.queries)
        if self.how == "greedy":
            yield from search(of, self.candidates, self.tries)
        elif of.left >= 1 and of.words and of.within.most:
            yield from _evolve(of, self.budget, self.population, self.rounds)
            yield from shrink(of, self.candidates)


def _evolve(of: Search, budget: int, population: int, rounds: int) -> Talk:
    """Differential evolution, best/1/bin with a dithered weight: all texts of a generation in one question."""
    genes = of.rng.random((population, budget, 2))
    fitness = yield from _fitness(of, genes)
    for _ in range(rounds):
        if of.nearest or of.left < 1:
            return
        two = np.array([of.rng.choice(population, 2, replace=False) for _ in range(population)])
        weight = of.rng.uniform(0.5, 1.0)
        mutant = genes[int(np.argmax(fitness))] + weight * (genes[two[:, 0]] - genes[two[:, 1]])
        mutant = np.where((mutant < 0) | (mutant >= 1), of.rng.random(mutant.shape), mutant)
        child = np.where(of.rng.random(mutant.shape) < 0.7, mutant, genes)
        new = yield from _fitness(of, child)
        better = new >= fitness
        genes, fitness = np.where(better[:, None, None], child, genes), np.where(better, new, fitness)


def _fitness(of: Search, genes: NDArray[np.float64]) -> Generator[Ask | Claim, Answer, NDArray[np.float64]]:
    """How near each text of a generation is to the goal, ``(population,)``; where only decisions show, whether it is there."""
    known = yield from of.ask([_text_of(of, gene) for gene in genes])
    return np.array([-np.inf if k is None else float(k.met) if k.height is None else k.height for k in known])


def _text_of(of: Search, gene: NDArray[np.float64]) -> Draft:
    """The text that perturbations ``(budget, 2)`` make: each edits one word, as far as the constraint allows."""
    draft = of.parts
    for which, where in gene:
        place = of.words[int(where * len(of.words))]
        # The first number says the kind by its place among equal parts of [0, 1), and by the rest which edit of that kind.
        kind, rest = divmod(which * len(of.kinds), 1)
        made = variants(draft[place], of.kinds[int(kind)], of.within.words)
        if made:
            new = of.put(draft, place, made[int(rest * len(made))])
            draft = new if of.allowed(new) else draft
    return draft
