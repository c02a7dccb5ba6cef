"""What would have to be known: the questions of a derivation, and which threats wait for each.

In a system where everybody reaches everything, thousands of instances wait for the same few facts. They are kept in
groups by what they wait for, and the groups that a question belongs to are joined once, whichever question asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from casemate.core.system import System
from casemate.threats.rules import Rule
from casemate.threats.scene import Scene, Used

Waiting = tuple[tuple[str, ...], int, int]  # ids in order, the gravest impact, the sum of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An unknown fact, and the threats that wait for it. `impact` is the gravest of them, `weight` their sum."""

    path: str
    text: str
    threats: tuple[str, ...]
    impact: int
    weight: int
    place: tuple[str, int]


@dataclass(slots=True)
class _Group:
    """Threats that wait for exactly the same facts."""

    paths: tuple[str, ...]
    ids: list[str] = field(default_factory=list)
    impacts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Asked:
    """Collects what waits for what; `questions` puts it in order."""

    _texts: dict[str, str] = field(default_factory=dict)  # by path: as the first that asks words it
    _groups: dict[tuple[str, ...], _Group] = field(default_factory=dict)
    _last: tuple[Rule, tuple[Used, ...], _Group] | None = None

    def add(self, id: str, impact: int, rule: Rule, scene: Scene, used: tuple[Used, ...]) -> tuple[str, ...]:
        """Note that a threat waits for these facts; gives back their paths."""
        if self._last and self._last[0] is rule and self._last[1] is used:  # the next principal at the same component
            group = self._last[2]
        else:
            group = self._group(rule, scene, used)
            self._last = (rule, used, group)
        group.ids.append(id)
        group.impacts.append(impact)
        return group.paths

    def _group(self, rule: Rule, scene: Scene, used: tuple[Used, ...]) -> _Group:
        for one in used:
            if one.fact.path not in self._texts:
                self._texts[one.fact.path] = rule.question(one, scene)
        paths = tuple(dict.fromkeys(one.fact.path for one in used))
        group = self._groups.get(paths)
        if group is None:
            group = self._groups[paths] = _Group(paths)
        return group

    def questions(self, system: System) -> tuple[Question, ...]:
        """One for each fact, those on which most hangs first."""
        by_path: dict[str, list[_Group]] = {path: [] for path in self._texts}
        for group in self._groups.values():
            for path in group.paths:
                by_path[path].append(group)
        known: dict[tuple[int, ...], Waiting] = {}
        found = []
        for path, groups in by_path.items():
            key = tuple(map(id, groups))
            if key not in known:
                known[key] = _waiting(groups)
            threats, impact, weight = known[key]
            place = system.place(path.partition(": ")[0])
            text = self._texts[path]
            found.append(Question(path=path, text=text, threats=threats, impact=impact, weight=weight, place=place))
        return tuple(sorted(found, key=lambda q: (-q.weight, -q.impact, q.path)))


def kinds(system: System) -> tuple[Question, ...]:
    """The components of which nobody said what they are. Rules are asked by kind, so all of them wait; none can be named."""
    found = [c.id for c in system.components if c.kind is None and c.model is None]
    text = "What kind of component is {}? Until that is known, no rule is asked of it."
    return tuple(
        Question(path=f"{id}.kind", text=text.format(id), threats=(), impact=0, weight=0, place=system.place(id)) for id in found
    )


def _waiting(groups: Iterable[_Group]) -> Waiting:
    """No threat is in two groups: each waits for one set of facts."""
    ids = sorted(id for group in groups for id in group.ids)
    impacts = [impact for group in groups for impact in group.impacts]
    return tuple(ids), max(impacts), sum(impacts)
