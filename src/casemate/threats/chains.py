"""Chains: threats of which each opens the next for one attacker, by the cheapest path.

A rule's `gives` says what the attacker holds once its threat has succeeded, and where, as seen from the component:

    here      on the component itself
    artifact  wherever a copy of its model lies (`surface.model_places`, the component included)
    training  wherever records reach its training from (`surface.training_inputs`)
    records   the same but for notebooks, jobs and other workspaces: what is known of records opens no file
    upstream  on every component from which flows lead to it
    zone      on every component that stands in the same stated zone, itself included

What the attacker gains becomes access, the rules that could react are judged again, and so on until nothing new opens.
Gains only ever add up over a finite set, so this ends. A threat that is open to the attacker already needs no chain, and
a gain that is held already leads nowhere. Everybody is an attacker of their own: each principal, and the outsiders
`supplier` and `anyone` as anonymous principals of these names. What anyone can do, everyone can.

A step costs the middle (geometric) of what it is known or assumed to cost, at least 1, so that of two equal paths the
shorter is the cheaper one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from casemate.core.finding import Chain
from casemate.core.risk import middle
from casemate.core.surface import rows_of
from casemate.core.system import YES, System
from casemate.threats.as_if import as_if, places, with_outsiders
from casemate.threats.derive import Derivation, derive, threat_id
from casemate.threats.expressions import Settled
from casemate.threats.reacts import Gain, Key, Reacts
from casemate.threats.rules import Rule
from casemate.threats.scene import Scene, Verdict

MOST = 400  # chains that are kept
_WORK = 20_000  # what a search may do in all, in the units of `_affordable`: some seconds for the largest system
Paid = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Chains, the gravest first; `left_out` says where the search was cut short, or nothing."""

    chains: tuple[Chain, ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class _Path:
    """Steps that one attacker takes; `uses` are the gains that later steps rest on."""

    steps: tuple[Key, ...]
    uses: frozenset[Gain]
    weight: float


@dataclass(frozen=True, slots=True)
class _Hand:
    """An attacker after a path: everything gained by it, and what the last step added."""

    attacker: str
    path: _Path
    gains: frozenset[Gain]
    fresh: frozenset[Gain]


@dataclass(frozen=True, slots=True)
class _Joint:
    """A threat that opens only after several paths, the dearest of them first."""

    attacker: str
    key: Key
    support: tuple[_Path, ...]
    uses: frozenset[Gain]


def chains(derivation: Derivation, paid: Paid | None = None) -> tuple[Chain, ...]:
    """The cheapest chain to every threat that opens for an attacker only through others.

    Args:
        paid: What a threat was measured to cost, (low, high) in money, by id; for the rest the rules' priors count.
    """
    return search(derivation, paid).chains


def search(derivation: Derivation, paid: Paid | None = None) -> Found:
    """`chains`, with a word on what was left out."""
    if not any(rule.gives for rule in derivation.rules):
        return Found(chains=())
    return _Search(derivation, paid or {}).run()


@dataclass(slots=True)
class _Search:
    derivation: Derivation
    paid: Paid
    rules: dict[str, Rule] = field(init=False)
    system: System = field(init=False)  # with the outsiders as principals
    named: dict[str, str] = field(init=False)  # outsiders: the principal that stands for each
    reacts: Reacts = field(init=False)
    open: dict[str, set[Key]] = field(init=False)  # attacker: threats that need no chain
    best: dict[str, dict[Key, _Path]] = field(init=False)  # attacker: threats that need one
    left_out: str = ""
    work: float = _WORK
    _given: dict[Key, frozenset[Gain]] = field(default_factory=dict)
    _held: dict[str, frozenset[Gain]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules = {rule.id: rule for rule in self.derivation.rules}
        self.system, self.named = with_outsiders(self.derivation.system)
        self.reacts = Reacts(self.system, self.rules)
        self.open = {p.id: set() for p in self.system.principals}
        self.best = {p.id: {} for p in self.system.principals}
        for threat in (*self.derivation.threats, *self.derivation.dropped):
            who = threat.principal or self.named.get(self.rules[threat.rule].adversary, "")
            self.open.get(who, set()).add((threat.rule, threat.element))

    def run(self) -> Found:
        self._follow([hand for attacker in sorted(self.open) for hand in self._first(attacker)])
        while more := self._together():
            self._follow(more)
        found = sorted(self._chains(), key=lambda pair: pair[0])
        if len(found) > MOST:
            self._cut(f"{len(found) - MOST:,} of {len(found):,} chains are left out: the {MOST} gravest are kept")
        return Found(chains=tuple(chain for _, chain in found[:MOST]), left_out=self.left_out)

    def _cut(self, why: str) -> None:
        self.left_out = self.left_out or why

    def _affordable(self, units: float, leave: float = 0.0) -> bool:
        """Whether there is work left for this, and so much after it. Counted, not timed: the same everywhere."""
        if units > self.work - leave:
            self._cut("the system is too large to follow every chain; the dearest ways on were left out")
            return False
        self.work -= units
        return True

    # Costs and gains

    def id(self, attacker: str, key: Key) -> str:
        return threat_id(*key, attacker if self.rules[key[0]].adversary == "principal" else "")

    def cost(self, attacker: str, key: Key) -> tuple[float, float, str]:
        id, prior = self.id(attacker, key), self.rules[key[0]].prior
        return (*self.paid[id], "measured") if id in self.paid else (prior.low, prior.high, "prior")

    def weight(self, attacker: str, steps: Iterable[Key]) -> float:
        return sum(middle(*self.cost(attacker, key)[:2]) for key in steps)

    def given(self, key: Key) -> frozenset[Gain]:
        """What a threat gives, whoever succeeds with it."""
        if key not in self._given:
            gives = self.rules[key[0]].gains(self.system, key[1])
            found = ((can, place) for give in gives for place in places(self.system, give, key[1]) for can in give.can)
            self._given[key] = frozenset(found)
        return self._given[key]

    def held(self, attacker: str) -> frozenset[Gain]:
        """What the attacker can do as things stand."""
        if attacker not in self._held:
            rows = rows_of(self.system, attacker)
            self._held[attacker] = frozenset((can, row.on) for row in rows for can in row.can)
        return self._held[attacker]

    # One step after another

    def _first(self, attacker: str) -> Iterator[_Hand]:
        for key in sorted(self.open[attacker]):
            fresh = self.given(key) - self.held(attacker)
            if fresh:
                yield _Hand(attacker, _Path((key,), frozenset(), self.weight(attacker, (key,))), fresh, fresh)

    def _follow(self, hands: Sequence[_Hand]) -> None:
        """Round by round, let every hand reach for what it opens."""
        seen: dict[tuple[str, frozenset[Gain]], float] = {}
        while True:
            hands = [h for h in _cheapest(hands) if h.path.weight < seen.get((h.attacker, h.gains), math.inf)]
            if not hands:
                return
            half = self.work / 2  # the other half is for judging them, and for later rounds
            hands = [hand for hand in hands if self._affordable(len(hand.gains), half)]
            seen |= {(h.attacker, h.gains): h.path.weight for h in hands}
            hands = [after for hand, key, uses in self._fired(hands) if (after := self._taken(hand, key, uses))]

    def _fired(self, hands: Sequence[_Hand]) -> Iterator[tuple[_Hand, Key, frozenset[Gain]]]:
        """What the last gains of each hand make fire, with the gains it rests on."""
        wanted = [(hand, sorted(self.reacts.to(hand.fresh) - self.open[hand.attacker])) for hand in hands]
        yield from self._judged([(hand, keys) for hand, keys in wanted if keys])

    def _judged(self, wanted: Sequence[tuple[_Hand, Sequence[Key]]]) -> Iterator[tuple[_Hand, Key, frozenset[Gain]]]:
        if not wanted or not self._affordable((len(self.system.components) + len(self.system.flows)) / 20):
            return
        half = self.work / 2
        wanted = [(hand, keys) for hand, keys in wanted if self._affordable(len(keys) * (1 + len(hand.gains) / 20), half)]
        system, names = as_if(self.system, [(hand.attacker, hand.gains) for hand, _ in wanted])
        shared: dict[tuple[Any, ...], Any] = {}
        for (hand, keys), name in zip(wanted, names, strict=True):
            facts = {f"access({name}, {place}): {can}": (can, place) for can, place in hand.gains}
            for key in keys:
                verdict = self.rules[key[0]].applies_when.judge(Scene(system, {"c": key[1], "p": name}, shared))
                if verdict.truth is YES:
                    uses = frozenset(facts[u.fact.path] for u in verdict.used if u.fact.path in facts)
                    yield hand, key, uses or hand.fresh

    def _taken(self, hand: _Hand, key: Key, uses: frozenset[Gain]) -> _Hand | None:
        """Keep the path if it is the cheapest so far, and go on from it if it gives anything new."""
        steps = (*hand.path.steps, key)
        path = _Path(steps, hand.path.uses | uses, self.weight(hand.attacker, steps))
        known = self.best[hand.attacker].get(key)
        if known and (known.weight, known.steps) <= (path.weight, path.steps):
            return None
        self.best[hand.attacker][key] = path
        fresh = self.given(key) - self.held(hand.attacker) - hand.gains
        return _Hand(hand.attacker, path, hand.gains | fresh, fresh) if fresh else None

    # Several threats that only together open another

    def _together(self) -> list[_Hand]:
        """What opens to one who has done everything there is; each with the fewest steps that still open it."""
        wanted = []
        sources = {attacker: self._sources(attacker) for attacker in sorted(self.open)}
        for attacker in sorted(self.open):
            gains = frozenset(sources[attacker]) - self.held(attacker)
            done = self.open[attacker] | self.best[attacker].keys()
            for other in self._others(attacker):
                done |= self.open[other] | self.best[other].keys()
            keys = sorted(self.reacts.to(gains) - done) if self._affordable(len(gains)) else []
            if keys:
                wanted.append((_Hand(attacker, _Path((), frozenset(), 0.0), gains, gains), keys))
        fired = [
            _Joint(hand.attacker, key, _support(sources[hand.attacker], uses), uses) for hand, key, uses in self._judged(wanted)
        ]
        found = []
        for joint in self._fewest(fired):
            hand = self._all_of(joint.attacker, joint.support)
            after = self._taken(hand, joint.key, joint.uses & hand.gains)
            found += [after] if after else []
        return found

    def _others(self, attacker: str) -> tuple[str, ...]:
        anyone = self.named["anyone"]
        return () if attacker == anyone else (anyone,)

    def _sources(self, attacker: str) -> dict[Gain, _Path]:
        """By gain, the cheapest path of this attacker (or of anyone) that gives it."""
        found: dict[Gain, _Path] = {}
        for who in (attacker, *self._others(attacker)):
            opened = [_Path((key,), frozenset(), self.weight(who, (key,))) for key in self.open[who]]
            for path in (*opened, *self.best[who].values()):
                for gain in self.given(path.steps[-1]):
                    known = found.get(gain)
                    if known is None or (path.weight, path.steps) < (known.weight, known.steps):
                        found[gain] = path
        return found

    def _fewest(self, fired: Sequence[_Joint]) -> list[_Joint]:
        """Leave out of each support, the dearest first, what it still fires without. One round for all of them."""
        kept = list(fired)
        for turn in range(max((len(joint.support) for joint in fired), default=0)):
            tried: dict[int, tuple[int, _Joint]] = {}
            wanted = []
            for n, joint in enumerate(fired):
                without = tuple(path for path in kept[n].support if path not in joint.support[turn : turn + 1])
                if without and turn < len(joint.support):
                    hand = self._all_of(joint.attacker, without)
                    wanted.append((hand, [joint.key]))
                    tried[id(hand)] = (n, replace(joint, support=without))
            for hand, _, uses in self._judged(wanted):
                n, fewer = tried[id(hand)]
                kept[n] = replace(fewer, uses=uses)
        return kept

    def _all_of(self, attacker: str, support: Sequence[_Path]) -> _Hand:
        """The attacker after all of these paths, one behind the other."""
        steps = tuple(dict.fromkeys(step for path in reversed(support) for step in path.steps))
        gains = frozenset(gain for step in steps for gain in self.given(step)) - self.held(attacker)
        uses = frozenset(use for path in support for use in path.uses)
        return _Hand(attacker, _Path(steps, uses, self.weight(attacker, steps)), gains, gains)

    # What is shown

    def _chains(self) -> Iterator[tuple[tuple[object, ...], Chain]]:
        impacts = self._impacts()
        for attacker, paths in self.best.items():
            for key, path in paths.items():
                if self._pointless(attacker, key, path):
                    continue
                first, last = self.rules[path.steps[0][0]], self.rules[key[0]]
                worse = impacts[key] > impacts[path.steps[0]] or first.cell["goal"] != last.cell["goal"]
                yield (not worse, -impacts[key], path.weight, attacker, path.steps), self._chain(attacker, path, impacts[key])

    def _impacts(self) -> dict[Key, int]:
        """The impact of every rule that a chain begins or ends with, wherever it may be asked."""
        ends = {key[0] for paths in self.best.values() for path in paths.values() for key in (path.steps[0], path.steps[-1])}
        always = [
            replace(self.rules[id], adversary="anyone", applies_when=Settled(Verdict(YES)), explain="", dominated_by={})
            for id in sorted(ends)
        ]
        return {(t.rule, t.element): t.impact for t in derive(self.system, always).threats}

    def _pointless(self, attacker: str, key: Key, path: _Path) -> bool:
        """Whether another threat at the same place, that makes this one pointless, is as near."""
        for other in self.rules[key[0]].dominated_by:
            by = (other, key[1])
            known = self.best[attacker].get(by)
            if by in self.open[attacker] or (known and known.weight <= path.weight):
                return True
        return False

    def _chain(self, attacker: str, path: _Path, impact: int) -> Chain:
        costs = [self.cost(attacker, key) for key in path.steps]
        first, last = path.steps[0], path.steps[-1]
        prices = self.system.prices
        return Chain(
            steps=tuple(self.id(attacker, key) for key in path.steps),
            gains=tuple(self._labels(attacker, path)),
            attacker=attacker,
            title=f"{self.rules[first[0]].title} at {first[1]}, then {self.rules[last[0]].title} at {last[1]}",
            impact=impact,
            low=sum(low for low, _, _ in costs),
            high=sum(high for _, high, _ in costs),
            currency=(prices.currency or "") if prices else "",
            basis="measured" if all(basis == "measured" for _, _, basis in costs) else "prior",
        )

    def _labels(self, attacker: str, path: _Path) -> Iterator[str]:
        """What each step gives that a later one rests on; where an earlier step gave it, it is told there."""
        told = self.held(attacker)
        for step in path.steps[:-1]:
            own = (self.given(step) & path.uses) - told
            told |= own
            by_place = groupby(sorted((place, can) for can, place in own), key=lambda pair: pair[0])
            said = [f"{', '.join(can for _, can in cans)} on {place}" for place, cans in by_place]
            yield "; ".join(said[:3]) + (f"; and on {len(said) - 3} more" if len(said) > 3 else "")
        yield ""


def _support(sources: Mapping[Gain, _Path], uses: frozenset[Gain]) -> tuple[_Path, ...]:
    """The paths behind these gains, the dearest first."""
    return tuple(sorted({sources[gain] for gain in uses}, key=lambda p: (-p.weight, p.steps)))


def _cheapest(hands: Iterable[_Hand]) -> list[_Hand]:
    """Of hands that hold the same, the cheapest; cheapest first."""
    found: dict[tuple[str, frozenset[Gain]], _Hand] = {}
    for hand in sorted(hands, key=lambda h: (h.path.weight, h.attacker, h.path.steps)):
        found.setdefault((hand.attacker, hand.gains), hand)
    return list(found.values())
