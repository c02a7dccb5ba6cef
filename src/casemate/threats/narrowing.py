"""A condition narrowed to one component: for whom it can be other than no, and what is left to judge for those.

Most rules ask first whether a principal can send, write, read or see something, and for most principals the answer is no.
`Narrowing` answers that for a whole component in one step: a set of principals, one bit each, that holds everybody for
whom the condition is yes or unknown (and perhaps some for whom it is no). Only those are judged one by one, by a
condition in which everything that does not speak of the principal is settled already. An operator that is not known
here is left as it is and taken to be possible for everybody: it is slow, but never wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from casemate.core.entities import Access, Flow
from casemate.core.fact import NO
from casemate.core.reach import bits
from casemate.core.surface import LEVELS, SEES, SENDS, WRITES, end_of, kept
from casemate.core.system import System
from casemate.threats.expressions import (
    MOST_ASKED,
    All,
    Either,
    Exists,
    Expression,
    Holds,
    InOrder,
    Reaches,
    Sees,
    Settled,
    any_of,
    words_in,
)
from casemate.threats.scene import Scene, Verdict

_KNOWN = ("submits", "contributes", "here", "artifact", "training")
_SILENT = Verdict(NO)


_Left: TypeAlias = tuple[int, str, Expression]


@dataclass(frozen=True, slots=True)
class _Among:
    """An `exists` with its set looked up: each element with the principals it can matter to, and what is left to judge.

    It gives no reason for a no, so it stands only where that reason goes nowhere: not below a `not`.
    """

    name: str
    left: tuple[_Left, ...]
    bit: dict[str, int]
    known: dict[tuple[str, str], Verdict] | None  # by element and principal, where nothing else decides

    def judge(self, scene: Scene) -> Verdict:
        bit = self.bit[scene.names["p"]]
        open_ = [(id, where) for mask, id, where in self.left if mask & bit]
        return any_of((self._judged(scene, id, where) for id, where in open_), MOST_ASKED) if open_ else _SILENT

    def _judged(self, scene: Scene, id: str, where: Expression) -> Verdict:
        if self.known is None:
            return where.judge(scene.bind(self.name, id))
        key = (id, scene.names["p"])
        if key not in self.known:
            self.known[key] = where.judge(scene.bind(self.name, id))
        return self.known[key]


@dataclass(frozen=True, slots=True)
class _Each:
    """A condition that was judged for each principal."""

    verdicts: dict[str, Verdict]

    def judge(self, scene: Scene) -> Verdict:
        return self.verdicts[scene.names["p"]]


class Narrowing:
    """For one system, and the conditions of one derivation (which must outlive it)."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.everyone = (1 << len(system.principals)) - 1
        self._bit = {p.id: 1 << i for i, p in enumerate(system.principals)}
        self._index = system.group(()).index
        self._masks: dict[tuple[str, ...], list[int]] = {}
        self._names: dict[int, frozenset[str]] = {}
        self._alone: dict[int, tuple[int, Expression]] = {}
        self._elements: dict[int, tuple[dict[str, _Left], dict[tuple[str, str], Verdict]]] = {}  # by condition

    def narrowed(self, condition: Expression, scene: Scene) -> tuple[list[str], Expression]:
        """The principals for whom the condition may be other than no, in the order of the system, and what to judge for
        each: the verdict is that of the condition, unless it is no, which then comes without its reasons.

        `scene` names the component, and no principal.
        """
        mask, left = self._narrow(condition, scene)
        listed = self.system.principals
        return [listed[bit].id for bit in bits(mask)], left

    def _narrow(self, part: Expression, scene: Scene) -> tuple[int, Expression]:
        names = self._names_in(part)
        if "p" not in names:
            verdict = part.judge(scene)
            return (0 if verdict.truth is NO else self.everyone), Settled(verdict)
        if isinstance(part, (All, InOrder)):
            return self._all(part, scene)
        if isinstance(part, Either):
            either = [self._narrow(inner, scene) for inner in part.parts]
            return _union(mask for mask, _ in either), Either(tuple(left for _, left in either))
        if isinstance(part, Exists) and part.of != "p":
            return self._exists(part, scene)
        if isinstance(part, (Sees, Reaches, Holds)) and part.who == "p" and getattr(part, "what", "here") in _KNOWN:
            return self._granted(part)[self._index[scene.names[part.on]]], part
        return (self.everyone, part) if names & scene.names.keys() else self._of_principals(part, scene)

    def _all(self, part: All | InOrder, scene: Scene) -> tuple[int, Expression]:
        """The parts that are looked up come before those that are judged; for a no, the order does not matter."""
        mask, left = self.everyone, list(part.parts)
        for looked_up in (True, False):
            for at, inner in enumerate(part.parts):
                if isinstance(inner, (Holds, Sees, Reaches)) is looked_up:
                    possible, left[at] = self._narrow(inner, scene)
                    mask &= possible
                    if not mask:
                        return 0, part
        return mask, type(part)(tuple(left))

    def _exists(self, part: Exists, scene: Scene) -> tuple[int, Expression]:
        alone = not self._names_in(part.where) & scene.names.keys()  # of the component that is narrowed to, nothing is said
        lefts, known = self._elements.setdefault(id(part), ({}, {})) if alone else ({}, None)
        found = []
        for element in scene.among(part.among, scene.names[part.of]):
            left = lefts.get(element)
            if left is None:
                mask, where = self._narrow(part.where, scene.bind(part.name, element))
                left = lefts[element] = (mask, element, where)
            if left[0]:
                found.append(left)
        return _union(mask for mask, _, _ in found), _Among(part.name, tuple(found), self._bit, known)

    def _of_principals(self, part: Expression, scene: Scene) -> tuple[int, Expression]:
        """A condition about the principal and nothing else: judged once for each."""
        if id(part) not in self._alone:
            verdicts = {p: part.judge(scene.bind("p", p)) for p in self._bit}
            self._alone[id(part)] = _union(self._bit[p] for p, v in verdicts.items() if v.truth is not NO), _Each(verdicts)
        return self._alone[id(part)]

    def _names_in(self, part: Expression) -> frozenset[str]:
        if id(part) not in self._names:
            self._names[id(part)] = words_in(part)
        return self._names[id(part)]

    # By place: who is granted something there, or upstream, or downstream

    def _granted(self, part: Holds | Sees | Reaches) -> list[int]:
        if isinstance(part, Sees):
            return self._made(("sees", part.level), lambda: self._seers(part.level))
        if isinstance(part, Reaches):
            return self._made(("reaches",), self._reachers)
        if part.what == "submits":
            return self._made(("submits",), self._senders)
        if part.what == "contributes":
            return self._made(("contributes",), self._writers)
        return self._made((part.what, *part.capabilities), lambda: self._holders(part.what, part.capabilities))

    def _made(self, key: tuple[str, ...], make: Callable[[], list[int]]) -> list[int]:
        if key not in self._masks:
            self._masks[key] = make()
        return self._masks[key]

    def _rows(self, speaks: Callable[[Access], bool], *, start: bool = False) -> list[int]:
        """For each place the principals with such a row there; a row on a flow counts at its end, or at its start."""
        own = [0] * len(self._index)
        for row in self.system.access:
            if speaks(row):
                element = self.system.element(row.on)
                at = element.from_ if start and isinstance(element, Flow) else end_of(self.system, row.on) or row.on
                own[self._index[at]] |= self._bit[row.principal]
        return own

    def _with_flows(self, own: list[int]) -> list[int]:
        """A flow that no row speaks of makes a question."""
        for flow in self.system.flows:
            if flow.from_ in self._bit:
                own[self._index[flow.to]] |= self._bit[flow.from_]
        return own

    def _senders(self) -> list[int]:
        own = self._with_flows(self._rows(lambda row: _speaks(row, SENDS)))
        return self.system.spread(own, back=True, past_trainers=False)

    def _writers(self) -> list[int]:
        return self._taught(self._with_flows(self._rows(lambda row: _speaks(row, WRITES))))

    def _taught(self, own: list[int]) -> list[int]:
        """`own` of whatever reaches the training of each place."""
        before = self.system.spread(own, back=True)
        taught = [0] * len(own)
        for component in self.system.components:
            if component.trains:
                sources = component.training.sources if component.training else ()
                at = self._index[component.id]
                for id in (component.id, *sources):
                    taught[at] |= before[self._index[id]]
        return self.system.spread(taught, back=True)

    def _holders(self, where: str, capabilities: Collection[str]) -> list[int]:
        own = self._rows(lambda row: _speaks(row, capabilities))
        if where == "here":
            return own
        if where == "training":
            return self._taught(own)
        stores = set(kept(self.system))
        at_stores = [mask if id in stores else 0 for id, mask in zip(self._index, own, strict=True)]
        before = self.system.spread(at_stores, back=True, past_trainers=False)
        return [here | upstream for here, upstream in zip(own, before, strict=True)]

    def _seers(self, level: str) -> list[int]:
        enough = [can for can, claimed in SEES.items() if LEVELS.index(claimed) >= LEVELS.index(level)]
        return self.system.spread(self._rows(lambda row: _speaks(row, enough), start=True))

    def _reachers(self) -> list[int]:
        own = self._with_flows(self._rows(lambda row: True))
        return self.system.spread(own, back=True)


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


def _speaks(row: Access, capabilities: Collection[str]) -> bool:
    return any(can in capabilities for can in (*row.can, *row.unsure))
