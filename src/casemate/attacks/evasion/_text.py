"""Looking for edits of text: what the attacks on strings share.

A text is cut into words and what lies between them; an edit replaces a word by a variant of it. No text is asked twice: what
was answered is remembered here, costs nothing, and is no question of the adversary's.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.attack import Answer, Ask, Claim
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.sequences import Text
from ...core.strings import Kind, levenshtein, pieces, variants
from ...core.target import Response
from ._scores import climb

Talk = Generator[Ask | Claim, Answer, Any]
Draft = list[str]  # a text in pieces: separators and words in turns, a word perhaps edited
PACK = 64  # most texts of one question of a random search


@dataclass(frozen=True, slots=True)
class Seen:
    """What was answered to one text: whether the goal is met there, and how near it is (None where only labels show)."""

    met: bool
    height: float | None


class Search:
    """Questions about one text. Every success inside the constraint is claimed, the nearest last."""

    def __init__(self, id: str, kinds: Sequence[Kind], oracle: Oracle, case: Evade, rng: np.random.Generator, queries: int):
        within = case.within
        if not isinstance(within, Text) or not isinstance(case.x[0], str):
            raise BadInput(f"{id} edits strings inside a Text; got {type(case.x[0]).__name__} inside {type(within).__name__}")
        self.kinds = tuple(kind for kind in kinds if kind in within.kinds)
        if not self.kinds:
            raise BadInput(f"{id} makes edits of the kinds {', '.join(kinds)}; the Text allows {', '.join(within.kinds)} only")
        self.within, self.origin, self.rng, self._case = within, str(case.x[0]), rng, case
        self.left = min(queries, float(oracle.left(case.row)[0]))
        self.parts = pieces(self.origin)
        self.seen: dict[str, Seen] = {}
        self._bare, self._costs = replace(within, valid=None, keep=()), dict[tuple[str, str], float]()
        self.size: float = np.inf  # of the nearest success claimed
        self.nearest: Draft = []
        self.words = self._free()

    def _free(self) -> list[int]:
        """The words that lie outside of all that is kept."""
        ends = np.cumsum([len(piece) for piece in self.parts]).tolist()
        spans = self.within.kept(self.origin)
        return [
            i for i in range(1, len(self.parts), 2)
            if all(end <= ends[i - 1] or ends[i] <= start for start, end in spans)
        ]  # fmt: skip

    def ask(self, drafts: Sequence[Draft]) -> Generator[Ask | Claim, Answer, list[Seen | None]]:
        """What is known of each text, in order; those not known yet are asked in one question, as far as the budget goes."""
        texts = {"".join(draft): draft for draft in drafts}
        fresh = [text for text in texts if text not in self.seen][: int(min(self.left, 1 << 20))]
        if fresh:
            answer = yield Ask(fresh)
            self.left = min(self.left - len(fresh), answer.left)
            y = np.repeat(np.asarray(self._case.y), len(fresh))
            heights = climb(self._case, Response(answer.label, answer.scores), y)
            for i, text in enumerate(fresh):
                height = None if heights is None else float(np.nan_to_num(heights[i], nan=-np.inf))
                self.seen[text] = Seen(bool(answer.met[i]), height)
            yield from self._claim({text: texts[text] for text, met in zip(fresh, answer.met, strict=True) if met})
        return [self.seen.get("".join(draft)) for draft in drafts]

    def _claim(self, won: dict[str, Draft]) -> Talk:
        """Hand in the nearest of `won` that is allowed, when it is nearer than all before."""
        # Words left out change the length by more than is allowed: nothing to be compared in earnest.
        near = [text for text in won if abs(len(text) - len(self.origin)) <= self.within.most]
        for size, text in sorted((levenshtein(text, self.origin), text) for text in near):
            if size >= self.size:
                return
            if self.within.check([text], [self.origin])[0]:
                self.size, self.nearest = size, won[text]
                yield Claim([text], True)
                return

    def allowed(self, draft: Draft) -> bool:
        """Whether a draft lies inside the constraint: its words do, each for itself, and their edits together are not too many.

        Word by word is cheaper than the text as a whole, and never says yes where that says no but for a `valid` of the user.
        """
        cost = 0.0
        for new, old in zip(draft, self.parts, strict=True):
            if new != old:
                cost += self._cost(new, old)
                if cost > self.within.most:
                    return False
        return self.within.valid is None or bool(self.within.valid("".join(draft), self.origin))

    def measure(self, draft: Draft) -> int:
        """The size of a draft: edits between it and the original."""
        return levenshtein("".join(draft), self.origin)

    def _cost(self, new: str, old: str) -> float:
        """Edits between two words; infinite where the kinds do not allow them."""
        if (new, old) not in self._costs:
            self._costs[new, old] = float(levenshtein(new, old)) if self._bare.check([new], [old])[0] else np.inf
        return self._costs[new, old]

    def edits(self, draft: Draft, place: int, most: int) -> list[Draft]:
        """Up to `most` drafts that one edit of the word at `place` makes: drawn evenly from the kinds, new and allowed ones.

        Of a word that was edited before, the second edit may take the first one back or go beyond what is allowed.
        """
        lots = [variants(draft[place], kind, self.within.words) for kind in self.kinds]
        lots = [[lot[i] for i in self.rng.permutation(len(lot))] for lot in lots]
        longest = max(map(len, lots), default=0)
        found: list[Draft] = []
        for word in dict.fromkeys(lot[i] for i in range(longest) for lot in lots if i < len(lot)):
            new = self.put(draft, place, word)
            if "".join(new) not in self.seen and self.allowed(new):
                found.append(new)
            if len(found) == most:
                break
        return found

    def put(self, draft: Draft, place: int, word: str) -> Draft:
        """The draft with a variant of the word at `place`. Of a word as it was, one edit is allowed: that need not be checked."""
        if draft[place] == self.parts[place]:
            self._costs.setdefault((word, draft[place]), float(levenshtein(word, draft[place])))
        return with_word(draft, place, word)

    def importance(self) -> Generator[Ask | Claim, Answer, list[int]]:
        """The free words by how much the decision depends on them, by deletion of each.

        Scores tell by how much. Decisions alone tell only which deletion meets the goal; so each word is asked on its own
        as well, and one that is decided like the whole text counts. Of a long text, blocks of words are left out first, and
        then single words of the blocks that matter: half of the questions at most are spent on that.
        """
        share = max(1, int(min(self.left, 1 << 20)) // 4)
        blocks = [[place] for place in self.words]
        if len(blocks) > share:
            size = -(-len(blocks) // share)
            blocks = [self.words[i : i + size] for i in range(0, len(self.words), size)]
            ranked = yield from self._rank(blocks)
            kept = sorted(place for block in ranked[: max(1, share // size)] for place in block)
            rest = [place for block in ranked for place in block if place not in kept]
            ranked = yield from self._rank([[place] for place in kept])
            return [block[0] for block in ranked] + rest
        ranked = yield from self._rank(blocks)
        return [block[0] for block in ranked]

    def _rank(self, blocks: list[list[int]]) -> Generator[Ask | Claim, Answer, list[list[int]]]:
        """Blocks of words by what leaving each of them out does."""
        known = yield from self.ask([self.parts, *(_without(self.parts, block) for block in blocks)])
        first, rest = known[0], known[1:]
        if first is not None and first.height is not None:
            rank = [-np.inf if k is None or k.height is None else k.height for k in rest]
        else:
            alone = yield from self.ask([[" ".join(self.parts[place] for place in block)] for block in blocks])
            rank = [2.0 * bool(k and k.met) + bool(a and not a.met) for k, a in zip(rest, alone, strict=True)]
        return [blocks[i] for i in np.argsort(-np.asarray(rank), kind="stable")]

    def several(self, order: list[int]) -> Draft:
        """One random edit of each of several words, as many as the constraint has room for.

        Words go by importance, shuffled a little, at times altogether: decisions may not have told it. Edits are of one kind
        as often as of many: a filter that one kind gets past lets all of them through.
        """
        draft, rng = self.parts, self.rng
        kinds = self.kinds if rng.random() < 0.5 else (self.kinds[int(rng.integers(len(self.kinds)))],)
        loose = float(rng.choice([0.5, 2.0, len(order)]))
        for i in np.argsort(np.arange(len(order)) + loose * rng.random(len(order))):
            made = variants(draft[order[i]], kinds[int(rng.integers(len(kinds)))], self.within.words)
            if made:
                new = self.put(draft, order[i], made[int(rng.integers(len(made)))])
                draft = new if self.allowed(new) else draft
        return draft

    @property
    def scored(self) -> bool:
        """Whether what is answered tells how near the goal is."""
        return any(seen.height is not None for seen in self.seen.values())


def with_word(draft: Draft, place: int, word: str) -> Draft:
    """The draft with another word at `place`."""
    return [*draft[:place], word, *draft[place + 1 :]]


def _without(draft: Draft, places: list[int]) -> Draft:
    """The draft with some words left out, and with each of them one of the spaces around it."""
    found = list(draft)
    for place in places:
        found[place] = ""
        if found[place - 1].endswith(" ") and found[place + 1].startswith(" "):
            found[place + 1] = found[place + 1][1:]
    return found


def search(of: Search, candidates: int, tries: int) -> Talk:
    """The whole attack: words by importance, the best edit of each; without scores, edits of several words at random.

    Args:
        candidates: Most edits of a word that are asked at a step.
        tries: Random sets of edits, where only decisions show or the best edit of each word led nowhere.
    """
    if of.left < 1 or not of.words or not of.within.most:
        return
    order = yield from of.importance()
    if of.scored:
        yield from _greedy(of, order, candidates)
    if not of.scored or (of.left >= 1 and not of.nearest):  # what looks best first may spend the edits that others need
        yield from _blind(of, order, candidates, tries)
    yield from shrink(of, candidates)


def _greedy(of: Search, order: list[int], candidates: int) -> Talk:
    """The best edit of one word after the other, and again from the first while that helps. Ends at a success."""
    draft = of.parts
    height = of.seen[of.origin].height
    gained, before = height is not None, of.size
    while gained:
        gained = False
        for place in order:
            drafts = of.edits(draft, place, candidates)
            known = yield from of.ask(drafts)
            if of.size < before or of.left < 1:
                return
            heights = [-np.inf if k is None or k.height is None else k.height for k in known]
            if heights and height is not None and max(heights) > height:
                # Of edits that help alike the smallest: a swap counts two.
                alike = [i for i, h in enumerate(heights) if h >= max(heights) - 1e-9]
                best = min(alike, key=lambda i: of.measure(drafts[i]))
                draft, height, gained = drafts[best], heights[best], True


def _blind(of: Search, order: list[int], candidates: int, tries: int) -> Talk:
    """Decisions alone: first the edits of each of the words that matter most, then edits of several words at a time."""
    before = of.size
    for place in order[:3]:
        yield from of.ask(of.edits(of.parts, place, candidates))
        if of.size < before or of.left < 1:
            return
    for _ in range(-(-tries // PACK)):
        drafts = [of.several(order) for _ in range(min(PACK, tries))]
        yield from of.ask([draft for draft in drafts if "".join(draft) not in of.seen])
        if of.size < before or of.left < 1:
            return


def shrink(of: Search, candidates: int) -> Talk:
    """Take words of the nearest success back, or put a smaller edit in their place, while the goal stays met."""
    while of.left >= 1 and len(of.nearest) == len(of.parts):
        before, near = of.size, of.nearest
        changed = [place for place in of.words if near[place] != of.parts[place]]
        back = [with_word(near, place, of.parts[place]) for place in changed]
        if len(changed) > 1:
            yield from of.ask(back)
        for place, draft in zip(changed, back, strict=True):
            if of.size == before and of.left >= 1 and levenshtein(near[place], of.parts[place]) > 1:
                smaller = [new for new in of.edits(draft, place, candidates) if of.measure(new) < before]
                yield from of.ask(smaller)
        if of.size >= before:
            return
