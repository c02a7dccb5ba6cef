"""The System: a frozen graph of who exists, what is deployed and who can do what to it.

`System` checks itself whichever way it was built, and says everything that is wrong at once. What follows from its
facts (routes, what a principal sees) is in `casemate.core.surface`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, Literal

from casemate.core.contradictions import problems
from casemate.core.entities import (
    Access,
    AccessBudget,
    Artifact,
    Asset,
    Assumption,
    Binding,
    Component,
    Decision,
    DecisionRule,
    DeclaredControl,
    Endpoint,
    Flow,
    Model,
    Parent,
    Prices,
    Principal,
    Privacy,
    Provenance,
    RateLimit,
    Training,
    Worth,
    Zone,
)
from casemate.core.errors import BadSystem, UnknownName
from casemate.core.fact import NO, UNKNOWN, YES, Fact, Source, Truth
from casemate.core.reach import Places, spread
from casemate.core.shape import NAMED, field_named, hints

__all__ = [
    "NO",
    "UNKNOWN",
    "YES",
    "Access",
    "AccessBudget",
    "Artifact",
    "Asset",
    "Assumption",
    "Binding",
    "Component",
    "Decision",
    "DecisionRule",
    "DeclaredControl",
    "Endpoint",
    "Fact",
    "Flow",
    "Model",
    "Parent",
    "Prices",
    "Principal",
    "Privacy",
    "Provenance",
    "RateLimit",
    "Source",
    "System",
    "Training",
    "Truth",
    "Worth",
    "Zone",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A deployed system, as facts. Raises `BadSystem` with every problem when it contradicts itself.

    Ids share one namespace (zones, principals, assets, components, flows, controls): a path such as `api.model.output`
    and a threat id such as `EV-02@api#customer` name their elements bare.
    """

    name: str = ""  # what reports call it
    version: str | None = None  # of the system, in your words
    description: str | None = None  # what it is for
    owner: str | None = None  # who answers for it
    task: Literal["binary", "multiclass", "regression", "detection", "ranking", "seq", "anomaly"] | None = None  # what it decides
    modality: Literal["tabular", "image", "text", "audio", "timeseries", "graph", "bytes"] | None = None  # what goes in
    decision: Decision | None = None  # what happens with the answers
    target: tuple[Binding, ...] = ()  # what makes components executable
    prices: Prices | None = None  # what an attack costs, and in which currency
    rules: tuple[str, ...] = ()  # files or folders with rules of your own, beside the description
    zones: tuple[Zone, ...] = ()
    principals: tuple[Principal, ...] = ()
    assets: tuple[Asset, ...] = ()
    components: tuple[Component, ...] = ()
    flows: tuple[Flow, ...] = ()
    access: tuple[Access, ...] = ()
    controls: tuple[DeclaredControl, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)  # of the facts that are not simply asserted
    folder: str = field(default="", compare=False)  # where `module:function` names are looked up
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict, compare=False, repr=False)
    _found: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        flows = self.flows
        if isinstance(flows, tuple):
            flows = tuple(_identified(flow) for flow in flows)
            object.__setattr__(self, "flows", flows)
        wrong = list(problems(self))
        if wrong:
            raise BadSystem(wrong)
        named = {element.id: element for kind in NAMED for element in getattr(self, kind) if element.id}
        ids = [element.id for kind in ("components", "principals", "assets") for element in getattr(self, kind)]
        onward: dict[str, list[str]] = {}
        back: dict[str, list[str]] = {}
        for flow in flows:
            onward.setdefault(flow.from_, []).append(flow.to)
            back.setdefault(flow.to, []).append(flow.from_)
        index = {id: bit for bit, id in enumerate(ids)}
        trainers = frozenset(c.id for c in self.components if c.trains)
        self._found.update(named=named, onward=onward, back=back, ids=ids, index=index, trainers=trainers)

    def element(self, id: str) -> Any:
        """The zone, principal, asset, component, flow or control with this id."""
        try:
            return self._found["named"][id]
        except KeyError:
            raise UnknownName("element", id, self._found["named"]) from None

    def component(self, id: str) -> Component:
        found = self._found["named"].get(id)
        if isinstance(found, Component):
            return found
        raise UnknownName("component", id, (c.id for c in self.components))

    def binding(self, component: str) -> Binding | None:
        """How the component is executed, or None: its threats can then only be `untested`."""
        return next((b for b in self.target if b.component == component), None)

    def place(self, path: str) -> tuple[str, int]:
        """File and line that state `path`, or the nearest thing around it."""
        while path and path not in self.places:
            path = path.rpartition(".")[0]
        return self.places.get(path, ("<python>", 0))

    def fact(self, path: str) -> Fact:
        """The value at a path such as `api.model.output` or `system.task`; `UNKNOWN` when nobody stated it.

        Below something that is known not to exist (`parent: none`) the answer is "none", or NO for a fact.
        """
        first, _, rest = path.partition(".")
        at: Any = self if first == "system" else self.element(first)
        kind: Any = type(at)
        steps, too_far = _steps(kind, rest)
        if too_far:
            raise UnknownName("fact", path, [path.removesuffix(f".{too_far}")])
        for name, yes_or_no in steps:
            if hasattr(at, "__dataclass_fields__"):
                at = getattr(at, name)
            elif at is None:
                break
            elif at == "none" and yes_or_no:
                at = NO
        return Fact(path, UNKNOWN if at is None else at, self.sources.get(path, "asserted"))

    def replace_fact(self, path: str, value: Any, source: Source = "asserted") -> System:
        """A new System in which one fact differs. A record that was missing is made.

        For yes and no, `bool` and the words of a description ("yes") are accepted too.
        """
        first, *rest = path.split(".")
        if not rest:
            raise UnknownName("fact", path, ("<component>.<record>.<field>",))
        sources = {k: v for k, v in self.sources.items() if k != path and not k.startswith(path + ".")}
        if source != "asserted":
            sources[path] = source
        if first == "system":
            changed: System = _changed(self, rest, value)
            return replace(changed, sources=sources)
        old = self.element(first)
        new = _changed(old, rest, value)
        kind = next(k for k in NAMED if any(e is old for e in getattr(self, k)))
        swapped: dict[str, Any] = {kind: tuple(new if e is old else e for e in getattr(self, kind))}
        return replace(self, sources=sources, **swapped)

    def closure(self, start: Iterable[str], *, back: bool = False, past_trainers: bool = True) -> tuple[str, ...]:
        """Every element a flow leads to (or comes from), the start included, nearest first.

        Where the order does not matter, `around` gives the same for much less.
        """
        start = tuple(start)
        key = ("closure", start, back, past_trainers)
        if key not in self._found:
            edges: dict[str, list[str]] = self._found["back" if back else "onward"]
            closed = set(start) if past_trainers else set(self._found["trainers"]).union(start)
            queue = list(dict.fromkeys(start))
            for at in queue:  # grows while it is walked
                for after in edges.get(at, ()):
                    if after not in closed:
                        closed.add(after)
                        queue.append(after)
            self._found[key] = tuple(queue)
        found: tuple[str, ...] = self._found[key]
        return found

    def around(self, start: Iterable[str], *, back: bool = False, past_trainers: bool = True) -> Places:
        """The elements of `closure` as a set. Made for every start at once, when it is first asked for."""
        key = ("around", back, past_trainers)
        if key not in self._found:
            own = [1 << bit for bit in range(len(self._found["ids"]))]
            self._found[key] = self.spread(own, back=back, past_trainers=past_trainers)
        masks, index = self._found[key], self._found["index"]
        mask = 0
        for id in start:
            mask |= masks[index[id]]
        return Places(mask, index, self._found["ids"])

    def group(self, ids: Iterable[str]) -> Places:
        """These components, principals and assets as a set."""
        index = self._found["index"]
        return Places(sum(1 << index[id] for id in set(ids)), index, self._found["ids"])

    def spread(self, own: Sequence[int], *, back: bool = False, past_trainers: bool = True) -> list[int]:
        """For every component, principal and asset, the union of `own` over the elements of its `closure`.

        Args:
            own: A set of bits for each element, in the order of `group`.
        """
        key = ("steps", back, past_trainers)
        if key not in self._found:
            edges: dict[str, list[str]] = self._found["back" if back else "onward"]
            ids, index, trainers = self._found["ids"], self._found["index"], self._found["trainers"]
            self._found[key] = [
                [index[after] for after in dict.fromkeys(edges.get(id, ())) if past_trainers or after not in trainers]
                for id in ids
            ]
        return spread(self._found[key], own)


@functools.cache
def _steps(kind: type, path: str) -> tuple[tuple[tuple[str, bool], ...], str]:
    """The attributes along a path, and whether each says yes or no; with the key below which there is nothing."""
    steps: list[tuple[str, bool]] = []
    at: type | None = kind
    for key in path.split(".") if path else ():
        if at is None:
            return (), key
        name, inner = field_named(at, key)
        steps.append((name, hints(at)[name] is Truth))
        at = inner
    return tuple(steps), ""


def _changed(record: Any, keys: list[str], value: Any) -> Any:
    kind: type = type(record)
    name, inner = field_named(kind, keys[0])
    if len(keys) == 1:
        if hints(kind)[name] is Truth and not isinstance(value, Truth):
            value = Truth.of(value) if isinstance(value, bool) else Truth(value)
        return replace(record, **{name: value})
    if inner is None:
        raise UnknownName("field", ".".join(keys), [keys[0]])
    held = getattr(record, name)
    return replace(record, **{name: _changed(held if is_dataclass(held) else inner(), keys[1:], value)})


def _identified(flow: Any) -> Any:
    return replace(flow, id=f"{flow.from_}->{flow.to}") if isinstance(flow, Flow) and not flow.id else flow
