"""Which rules a new capability could make fire, and where: found by looking at the rules, not by trying them all.

Everything here errs on the side of too many: a rule that is named here is then judged, one that is not cannot fire.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from casemate.core.entities import Can
from casemate.core.fact import YES
from casemate.core.reach import Places
from casemate.core.surface import SENDS, WRITES, training_inputs
from casemate.core.system import System
from casemate.threats.expressions import Either, Exists, Holds, Not, Reaches, Sees
from casemate.threats.rules import Rule, instances
from casemate.threats.scene import Scene

Key = tuple[str, str]  # rule and component
Gain = tuple[str, str]  # capability and component

_EVERY = frozenset(typing.get_args(Can))
_SEES = frozenset(can for can in _EVERY if can.startswith("see_"))
# How far from the place of a capability the component lies that a rule is asked of: at it, where its flows lead to, where
# they come from, where its records are learned from, or anywhere.
_WAYS = {"here": "here", "artifact": "onward", "training": "training", "submits": "onward", "contributes": "training"}
_BOUND = {
    "trainers": "onward", "upstream": "onward", "inputs": "onward", "downstream": "back", "later_trainers": "back",
    "training_inputs": "training",
}  # fmt: skip
_NAMES = ("name", "who", "on", "of", "flow")  # fields of an expression that hold a name


@dataclass(slots=True)
class Reacts:
    """The instances of rules that could come to fire, by the capability and place that would do it.

    Only rules that ask about one principal can, and not those that range over all principals.
    """

    system: System
    rules: Mapping[str, Rule]
    _by: dict[str, list[tuple[Rule, str]]] = field(default_factory=dict)  # capability: rules, and how far they look
    _elements: dict[str, frozenset[str]] = field(default_factory=dict)
    _open: dict[Key, bool] = field(default_factory=dict)
    _near: dict[Gain, frozenset[str]] = field(default_factory=dict)
    _keys: dict[Gain, frozenset[Key]] = field(default_factory=dict)
    _taught: dict[int, tuple[Places, list[str]]] = field(default_factory=dict)  # where records come from, and for whom
    _shared: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.rules.values():
            inside = list(_walk(rule.applies_when))
            if rule.adversary != "principal" or any(getattr(e, "among", "") == "principals" for e in inside):
                continue
            for can, way in sorted(set(_asked(rule.applies_when, {}))):
                self._by.setdefault(can, []).append((rule, way))
        for component in self.system.components:
            places = training_inputs(self.system, component.id)
            self._taught.setdefault(places.mask, (places, []))[1].append(component.id)

    def to(self, gains: Iterable[Gain]) -> set[Key]:
        """The instances that could fire for someone who gets these."""
        found: set[Key] = set()
        for gain in gains:
            if gain not in self._keys:
                self._keys[gain] = self._to(*gain)
            found |= self._keys[gain]
        return found

    def _to(self, can: str, place: str) -> frozenset[Key]:
        near = ((rule, self._around(way, place) & self._of(rule)) for rule, way in self._by.get(can, ()))
        return frozenset(key for rule, around in near for c in around if self._possible(key := (rule.id, c)))

    def _of(self, rule: Rule) -> frozenset[str]:
        if rule.id not in self._elements:
            alone = replace(rule, adversary="anyone")  # so that each component comes once
            self._elements[rule.id] = frozenset(element for element, _ in instances(alone, self.system))
        return self._elements[rule.id]

    def _around(self, way: str, place: str) -> frozenset[str]:
        if (way, place) not in self._near:
            if way == "here":
                found: Iterable[str] = (place,)
            elif way == "training":
                found = (id for places, ids in self._taught.values() if place in places for id in ids)
            elif way == "anywhere":
                found = (c.id for c in self.system.components)
            else:
                found = self.system.closure((place,), back=way == "back")
            self._near[way, place] = frozenset(found)
        return self._near[way, place]

    def _possible(self, key: Key) -> bool:
        """Whether what the rule asks apart from access is so: then access could settle the rest."""
        if key not in self._open:
            scene = Scene(self.system, {"c": key[1]}, self._shared)
            self._open[key] = _possible(self.rules[key[0]].applies_when, scene)
        return self._open[key]


def _possible(expression: Any, scene: Scene) -> bool:
    if not any(_personal(inner) for inner in _walk(expression)):
        return bool(expression.judge(scene).truth is YES)
    if isinstance(expression, Not | Exists) or not hasattr(expression, "parts"):
        return True
    some = any if isinstance(expression, Either) else all
    return some(_possible(part, scene) for part in expression.parts)


def _personal(expression: Any) -> bool:
    """Whether the answer may differ between principals."""
    return isinstance(expression, Holds | Sees | Reaches) or "p" in (getattr(expression, name, None) for name in _NAMES)


def _walk(expression: Any) -> Iterator[Any]:
    yield expression
    for f in fields(expression) if is_dataclass(expression) else ():
        value = getattr(expression, f.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if hasattr(inner, "judge"):
                yield from _walk(inner)


def _asked(expression: Any, bound: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The capabilities that an expression asks for, each with where it looks from its component."""
    if isinstance(expression, Exists):
        way = _BOUND.get(expression.among, "anywhere") if expression.of == "c" else "anywhere"
        yield from _asked(expression.where, {**bound, expression.name: way})
    elif isinstance(expression, Holds):
        words = {"submits": SENDS, "contributes": WRITES}.get(expression.what, expression.capabilities)
        way = _way(expression.on, _WAYS.get(expression.what, "anywhere"), bound)
        yield from ((can, way) for can in words)
    elif isinstance(expression, Sees):
        way = _way(expression.on, "back", bound)
        yield from ((can, way) for can in _SEES)
    elif isinstance(expression, Reaches):
        way = _way(expression.on, "onward", bound)
        yield from ((can, way) for can in _EVERY)
    else:
        inside = (getattr(expression, f.name) for f in fields(expression))
        for value in inside:
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "judge"):
                    yield from _asked(inner, bound)


def _way(on: str, way: str, bound: Mapping[str, str]) -> str:
    """From the component itself, the way as it is; from what stands around it, the way there where that is the whole way."""
    return way if on == "c" else bound.get(on, "anywhere") if way == "here" else "anywhere"
