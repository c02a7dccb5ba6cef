"""Reads rule expressions and templates from nodes, and refuses, with file and line, whatever could fail later."""

from __future__ import annotations

import difflib
import functools
import re
import typing
from collections.abc import Mapping
from typing import Any

from casemate.core.entities import AssetKind, Binding, Can, Component, Flow, Principal, Worth, Zone
from casemate.core.errors import Problem, UnknownName
from casemate.core.fact import UNKNOWN, Truth
from casemate.core.shape import choices, field_key, field_named, fits, hints, misfit
from casemate.core.system import System
from casemate.threats.expressions import (
    AMONG,
    Affords,
    All,
    Carries,
    Crosses,
    Either,
    Exists,
    Expression,
    Holds,
    InOrder,
    Lists,
    Not,
    Path,
    Reaches,
    Sees,
    Settled,
    Stake,
    Trust,
)
from casemate.threats.nodes import CLIPPED, Node, told
from casemate.threats.scene import Scene, Verdict

MAX_EXISTS = 2  # one within another: each multiplies the work by all there are
MAX_DEPTH = 20  # of expressions within expressions
FLAGS = ("personal", "public", "aggregates_secret")
_KEYS: dict[str, tuple[str, ...]] = {
    "all": (),
    "any": (),
    "in_order": (),
    "not": (),
    "exists": ("among", "of", "where"),
    "path": ("is", "in", "at_least", "below"),
    "lists": (),
    "can": ("who", "on", "where"),
    "submits": ("who",),
    "contributes": ("who",),
    "reaches": ("who",),
    "sees": ("who", "on"),
    "asset": ("of", "value", "at_least", *FLAGS),
    "affords": ("who", "on"),
    "trust": ("in",),
    "crosses": (),
    "carries": ("on",),
}
_TRUST = next(typing.get_args(part) for part in choices(hints(Zone)["trust"]))


class Reader:
    """Reads expressions and templates, and collects what is wrong with them. `names` gives each variable its type."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.asks: set[str] = set()  # keys of the questions that the expressions read so far may need
        self._around: list[str] = []  # the operators around the expression that is being read

    def wrong(self, node: Node, key: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(node.file, node.line, key, message, hint))

    def expression(self, node: Node, names: Mapping[str, type]) -> Expression:
        """An expression; where it is malformed, a placeholder (the problems make the rule fatal)."""
        entries = node.entries or {}
        operators = [key for key in entries if key in _KEYS]
        if len(operators) != 1:
            close = [c for key in entries for c in difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.5)]
            got = " and ".join(entries)[:CLIPPED] or node.said
            hint = f"did you mean {close[0]!r}?" if close and not operators else ""
            self.wrong(node, "applies_when", f"needs exactly one of {', '.join(_KEYS)}; got {got}", hint)
            return Settled(Verdict(UNKNOWN))
        operator = operators[0]
        for key in set(entries) - {operator, *_KEYS[operator]}:
            self.wrong(entries[key], key, f"{operator!r} has no such part", f"known: {', '.join(_KEYS[operator])}")
        read = getattr(self, f"_{'holds' if operator in ('can', 'submits', 'contributes') else operator}")
        if not self._fits_here(node, operator):
            return Settled(Verdict(UNKNOWN))
        self._around.append(operator)
        found: Expression = read(node, names)
        self._around.pop()
        return found

    def _fits_here(self, node: Node, operator: str) -> bool:
        """Whether this stands no deeper than can be judged in reasonable time."""
        if operator == "exists" and self._around.count("exists") >= MAX_EXISTS:
            hint = "split the rule, or ask for less"
            self.wrong(node, "exists", f"stands within {MAX_EXISTS} others; no more than {MAX_EXISTS} can be nested", hint)
            return False
        if len(self._around) >= MAX_DEPTH:
            self.wrong(node, operator, f"is nested deeper than {MAX_DEPTH} expressions")
            return False
        return True

    def _parts(self, node: Node, operator: str, names: Mapping[str, type]) -> tuple[Expression, ...]:
        items = (node.entries or {})[operator].items
        if not items:
            self.wrong(node, operator, "expected a list with at least one expression")
        return tuple(self.expression(item, names) for item in items or ())

    def _all(self, node: Node, names: Mapping[str, type]) -> Expression:
        return All(self._parts(node, "all", names))

    def _any(self, node: Node, names: Mapping[str, type]) -> Expression:
        return Either(self._parts(node, "any", names))

    def _in_order(self, node: Node, names: Mapping[str, type]) -> Expression:
        return InOrder(self._parts(node, "in_order", names))

    def _not(self, node: Node, names: Mapping[str, type]) -> Expression:
        return Not(self.expression((node.entries or {})["not"], names))

    def _exists(self, node: Node, names: Mapping[str, type]) -> Expression:
        name, among = self._word(node, "exists"), self._word(node, "among", tuple(AMONG))
        if name in names or name in ("system", "") or not name.isidentifier():
            self.wrong(node, "exists", f"needs a new name; got {told(name)}")
        where = node.get("where")
        if where is None:
            self.wrong(node, "exists", "needs a 'where'")
        inner = {**names, name: AMONG.get(among, Component)}
        return Exists(name, among, self._name(node, "of", names), self.expression(where or node_of("", node), inner))

    def _path(self, node: Node, names: Mapping[str, type]) -> Expression:
        name, path, kind = self.resolve(node, self._word(node, "path").removeprefix("$"), names)
        tests = [key for key in ("is", "in", "at_least", "below") if node.get(key)]
        if len(tests) != 1:
            self.wrong(
                node, "path", f"needs exactly one of is, in, at_least, below; got {' and '.join(tests) or 'none'}"
            )
            return Settled(Verdict(UNKNOWN))
        self.asks |= set() if path.startswith("target.") else {path}
        test = (node.entries or {})[tests[0]]
        if tests[0] in ("is", "in"):
            items = (test,) if tests[0] == "is" else test.items or ()
            return Path(name, path, tuple(self._value(item, kind, path) for item in items) or (None,))
        bound = self._number(test, tests[0])
        return Path(name, path, least=bound) if tests[0] == "at_least" else Path(name, path, below=bound)

    def _lists(self, node: Node, names: Mapping[str, type]) -> Expression:
        dotted = self._word(node, "lists").removeprefix("$")
        name, path, kind = self.resolve(node, dotted, names)
        # A list that may be absent (None) is a fact that may be unknown: it has to be tested as one.
        if kind is None or typing.get_origin(hints(kind[0])[kind[1]]) is not tuple:
            self.wrong(node, "lists", f"{dotted!r} is no list that is empty where nobody wrote it")
        return Lists(name, path)

    def _holds(self, node: Node, names: Mapping[str, type]) -> Expression:
        operator = next(key for key in ("can", "submits", "contributes") if node.get(key))
        who = self._name(node, "who", names, "$p", Principal)
        if operator != "can":
            return Holds(operator, who, self._name(node, operator, names, kind=Component))
        listed = (node.entries or {})["can"]
        words = tuple(item.text for item in (listed.items if listed.items is not None else (listed,)))
        for word in words or ("",):
            self._one_of(listed, "can", word, typing.get_args(Can))
        where = self._word(node, "where", ("here", "artifact", "training")) if node.get("where") else "here"
        return Holds(where, who, self._name(node, "on", names, "$c", Component), words)

    def _reaches(self, node: Node, names: Mapping[str, type]) -> Expression:
        return Reaches(
            self._name(node, "who", names, "$p", Principal), self._name(node, "reaches", names, kind=Component)
        )

    def _sees(self, node: Node, names: Mapping[str, type]) -> Expression:
        level = self._word(node, "sees", ("label", "score", "logits"))
        on = self._name(node, "on", names, "$c", Component)
        return Sees(level, self._name(node, "who", names, "$p", Principal), on)

    def _asset(self, node: Node, names: Mapping[str, type]) -> Expression:
        kind = self._word(node, "asset", typing.get_args(AssetKind))
        of = self._name(node, "of", names, "$c", Component)
        flags, value = [flag for flag in FLAGS if node.get(flag)], node.get("value")
        if len(flags) + (value is not None) != 1:
            self.wrong(node, "asset", f"needs either 'value' with 'at_least', or one of {', '.join(FLAGS)}")
        self.asks.add(f"{kind}.{value.text if value else (flags or FLAGS)[0]}")
        if value is None:
            flag = (flags or FLAGS)[0]
            wanted = node.get(flag)
            if wanted is not None and not isinstance(wanted.word, bool):
                self.wrong(wanted, flag, f"expected yes or no; got {told(wanted.text)}")
            return Stake(kind, of, flag=flag, wanted=Truth.of(wanted is None or wanted.word is True))
        worth = tuple(field_key(f) for f in Worth.__dataclass_fields__.values())
        least = self._number(node.get("at_least") or node_of("", node), "at_least")
        return Stake(kind, of, self._word(node, "value", worth), int(least))

    def _affords(self, node: Node, names: Mapping[str, type]) -> Expression:
        self.asks |= {"endpoint.rate_limit", "endpoint.rate_limit.key", "sybil_cost"}
        queries = int(self._number((node.entries or {})["affords"], "affords"))
        who = self._name(node, "who", names, "$p", Principal)
        return Affords(queries, who, self._name(node, "on", names, "$c", Component))

    def _trust(self, node: Node, names: Mapping[str, type]) -> Expression:
        self.asks.add("zone")
        listed = node.get("in") or node_of("", node)
        words = tuple(item.text for item in (listed.items if listed.items is not None else (listed,)))
        for word in words or ("",):
            self._one_of(listed, "in", word, _TRUST)
        name = self._name(node, "trust", names)
        if names.get(name) not in (Component, Principal):
            self.wrong(node, "trust", f"${name} stands in no zone")
        return Trust(name, words)

    def _crosses(self, node: Node, names: Mapping[str, type]) -> Expression:
        self.asks.add("crosses")
        return Crosses(self._name(node, "crosses", names, kind=Flow))

    def _carries(self, node: Node, names: Mapping[str, type]) -> Expression:
        self.asks |= {"data", "data.personal"}
        self._word(node, "carries", ("personal",))
        return Carries(self._name(node, "on", names, kind=Flow))

    # Words, names and paths

    def _one_of(self, node: Node, key: str, word: str, allowed: tuple[str, ...]) -> None:
        if allowed and word not in allowed:
            close = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else ""
            self.wrong(node, key, f"expected one of {', '.join(allowed)}; got {told(word)}", hint)

    def _word(self, node: Node, key: str, allowed: tuple[str, ...] = ()) -> str:
        found = node.get(key)
        word = found.text if found else ""
        if found is None or not word:
            self.wrong(node, key, f"{key!r} needs a word")
        else:
            self._one_of(found, key, word, allowed)
        return word

    def _number(self, node: Node, key: str) -> float:
        word = node.word if node.scalar else None
        if isinstance(word, bool) or not isinstance(word, (int, float)):
            self.wrong(node, key, f"{key!r} needs a number; got {node.said}")
            return 0
        return word

    def _name(
        self, node: Node, key: str, names: Mapping[str, type], default: str = "$c", kind: type | None = None
    ) -> str:
        found = node.get(key)
        name = (found.text if found else default).removeprefix("$")
        if name not in names or (kind is not None and names[name] is not kind):
            wanted = [f"${n}" for n, k in names.items() if kind in (None, k)]
            self.wrong(found or node, key, f"${name[:CLIPPED]} is not a name here", f"known: {', '.join(wanted) or 'none'}")
        return name

    def resolve(self, node: Node, dotted: str, names: Mapping[str, type]) -> tuple[str, str, tuple[type, str] | None]:
        """A path split into name and rest, with the record and attribute it ends at (None: free-form data)."""
        name, _, path = dotted.partition(".")
        kind: type | None = System if name == "system" else names.get(name)
        if kind is None or not path:
            known = [f"${n}" for n in names] + ["system"]
            self.wrong(node, "path", f"{told(dotted)} starts at nothing known", f"known: {', '.join(known)}")
            return name, path, None
        keys = path.split(".")
        if keys[0] == "target" and kind is Component:
            kind, keys = Binding, keys[1:]
        for index, key in enumerate(keys):
            try:
                attribute, inner = field_named(kind, key)
            except UnknownName as error:
                self.wrong(node, "path", f"{dotted}: {error}")
                return name, path, None
            if typing.get_origin(hints(kind)[attribute]) is Mapping:
                return name, path, None
            if index == len(keys) - 1:
                return name, path, (kind, attribute)
            if inner is None:
                self.wrong(node, "path", f"{dotted}: there is nothing below {key!r}")
                return name, path, None
            kind = inner
        return name, path, None

    def _value(self, node: Node, kind: tuple[type, str] | None, path: str) -> Any:
        word: Any = node.word
        if word == "unknown":
            self.wrong(node, "is", "nothing can test for unknown: an unknown fact becomes a question")
            return word
        if kind is None:
            return word
        listed = next((typing.get_args(p) for p in choices(hints(kind[0])[kind[1]]) if typing.get_origin(p) is tuple), ())
        for value in (word, node.text, Truth.of(word) if isinstance(word, bool) else word):
            if value is not None and not misfit(value, *kind):
                return value
            if listed and fits(value, listed[0]):  # one of what the fact lists
                return value
        self.wrong(node, "is", f"{path} is never {told(node.text)}", f"expected {misfit(object(), *kind)}")
        return word

    def template(self, node: Node, names: Mapping[str, type]) -> str:
        """A sentence whose `{c}` and `{c.model.output}` exist."""
        for dotted in re.findall(r"\{([^}]*)\}", node.text):
            if "." in dotted:
                self.resolve(node, dotted, names)
            elif dotted not in names:
                self.wrong(node, "explain", f"{{{dotted[:CLIPPED]}}} is not a name here", f"known: {', '.join(names)}")
        return node.text


def node_of(text: str, beside: Node) -> Node:
    """A scalar that is not in the file, placed where it should have been."""
    return Node(beside.file, beside.line, 1, text=text, quoted=True)


def fill(template: str, scene: Scene) -> str:
    """The template with its names and facts put in."""
    return "".join(part if at % 2 == 0 else _put(part, scene) for at, part in enumerate(_pieces(template)))


@functools.cache
def _pieces(template: str) -> tuple[str, ...]:
    """Words, what stands in braces, words, and so on."""
    return tuple(re.split(r"\{([^}]*)\}", template))


def _put(dotted: str, scene: Scene) -> str:
    name, _, path = dotted.partition(".")
    root = "system" if name == "system" else scene.names[name]
    return scene.value(f"{root}.{path}").shown if path else root
