"""The opening questions: the shape of a system, without which the rules have nothing to ask about.

    for ask in openings(system): ...     # who calls, what serves, what feeds the training
    text = opened(text, system, ask, "customer")

They are ordinary questions: `unknown` is an answer, and asserts nothing. What is there already is not asked. A `no` to a
part of the system (feedback, labelling, a registry, a person who looks) stands as an assumption, so that a reader sees it.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from casemate.core.entities import Can, Component, Principal
from casemate.core.errors import UsageError
from casemate.core.shape import choices, hints
from casemate.core.surface import trainers
from casemate.core.system import System
from casemate.imports.claims import SERVES
from casemate.imports.interview import YES_NO, Ask, answered, free_id, spliced
from casemate.imports.splice import Change, Leaf, Tree, quoted
from casemate.threats.load import VERSION

CALLERS = ("anonymous", "customer", "paid_account", "partner", "data_provider", "insider")
_OUTSIDE = ("anonymous", "customer", "paid_account")  # these stand in a public zone, whatever the system
_NAMED = 5  # components named where the same is said of many
_NAME = re.compile(r"(?!(?:yes|no|true|false|null)\Z)[A-Za-z][A-Za-z0-9_-]*\Z", re.I)

_HEAD = """\
# Facts are yes, no or unknown; what is left out is unknown. `casemate schema` helps your editor.
# To attack it, bind your own functions under system.target (module:function, beside this file):
#   target:
#     - component: api
#       factory: "bind:target"      # returns an nn.Module, an estimator, an .onnx path, a callable, or cm.wrap(...)
#       data: "bind:holdout"        # returns (x, y) that no training saw
#       recipe: "bind:recipe"       # returns cm.Recipe(fit, x, y): for poisoning, membership, hardening by training
#       within: {kind: ball, norm: linf, radius: 0.05, low: 0.0, high: 1.0}
"""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a system that is often forgotten.

    Args:
        text, why: The question, and why it is asked.
        without: What is assumed where the answer is not yes.
    """

    text: str
    why: str
    without: str


_PARTS = {
    "feedback": _Part(
        "Does anything that callers report or correct (feedback) reach the training?",
        "whoever reports can then teach the model: poisoning through feedback is derived from it",
        "nothing that callers report or correct reaches the training",
    ),
    "data": _Part(
        "Does anybody outside (a supplier, a partner, the web) deliver training records?",
        "whoever delivers records can teach the model: poisoning of the training data is derived from it",
        "nobody outside delivers training records",
    ),
    "labels": _Part(
        "Do people label or review training data?",
        "whoever says what is true of a record can teach the model wrong",
        "no person labels or reviews training data",
    ),
    "registry": _Part(
        "Does the service fetch its model file from a registry or store?",
        "whoever can write there replaces the model: the supply threats are derived from it",
        "the service fetches its model file from no registry or store",
    ),
    "review": _Part(
        "Does a person look at what it flags?",
        "an attack may stop at a person, and people can be flooded",
        "no person looks at what the system flags",
    ),
}


def begun(stem: str) -> str:
    """The text of a description in which nothing is said but its name."""
    return f"{_HEAD}casemate: {VERSION}\nsystem:\n  name: {stem if _NAME.match(stem) else quoted(stem)}\n"


def sketched(stem: str) -> str:
    """A description of somebody who sends inputs to a service, with nothing said of either."""
    return begun(stem) + """\
principals:
  - {id: caller}                  # kind: anonymous, customer, paid_account, partner, data_provider, insider
components:
  - {id: api, kind: server}       # edge_runtime where it runs on somebody's device
flows:
  - {from: caller, to: api}
access:
  - {principal: caller, on: api, can: [query], unsure: [see_label, see_score, read_binary]}
"""


# Questions -----------------------------------------------------------------------------------------------------------


def openings(system: System, *, fresh: bool = False) -> tuple[Ask, ...]:
    """What has to be there before the rules can ask, in the order in which it is told.

    Args:
        fresh: Whether the description is being begun, so that its name is asked for too.
    """
    return tuple(_openings(system, fresh))


def _openings(system: System, fresh: bool) -> Iterator[Ask]:
    if fresh:
        why = "reports carry it"
        yield _opening("system.name", "What is the system called?", why, form=f"Enter: {system.name}")
    for key, text in (("modality", "What goes into the model?"), ("task", "What does it decide?")):
        path = f"system.{key}"
        if getattr(system, key) is None:
            why = "rules and attacks are chosen by it"
            yield _opening(path, text, why, _words(System, key), asked=path in system.places)
    why = "each threat is somebody's: what it costs them, where they stand, what they see"
    if not system.principals:
        yield _opening("opening(caller)", "Who sends inputs?", why, CALLERS)
    for who in system.principals:
        path = f"{who.id}.kind"
        if who.kind is None and any(row.principal == who.id for row in system.access):
            yield _opening(path, f"Who is {who.id}?", why, _words(Principal, "kind"), asked=path in system.places)
    if not _serving(system):
        why = "whoever holds the device holds the model file"
        yield _opening("opening(device)", "Does the model run on the user's own device?", why, YES_NO)
    for name, part in _PARTS.items():
        told = next((a for a in system.assumptions if a.text == part.without), None)
        if not _shows(system, name) and (told is None or told.validity == "unconfirmed"):
            yield _opening(f"opening({name})", part.text, part.why, YES_NO, asked=told is not None)


def missing(system: System) -> str:
    """Why nothing at all can be derived, or ""."""
    if not system.principals:
        return "no principal is described yet"
    return "" if _serving(system) else "no component that serves a model is described yet"


def untaught(system: System) -> str:
    """Whose training nothing is said of, so that no rule about written training data can ask; "" where somebody spoke of it.

    Somebody did who described a trainer, or a training record, or confirmed that nobody outside delivers records.
    """
    spoken = any(a.text == _PARTS["data"].without and a.validity == "confirmed" for a in system.assumptions)
    silent = [] if spoken else [c.id for c in _serving(system) if not trainers(system, c.id)]
    if not silent:
        return ""
    names = ", ".join(silent[:_NAMED]) + (f" and {len(silent) - _NAMED:,} more" if len(silent) > _NAMED else "")
    whose = "its" if len(silent) == 1 else "their"
    return f"no trainer or data source is described for {names}: whether {whose} training data can be poisoned is not judged"


def _opening(path: str, text: str, why: str, allowed: tuple[str, ...] = (), *, form: str = "", asked: bool = False) -> Ask:
    return Ask(path=path, text=text, threats=(), impact=0, allowed=allowed, form=form, asked=asked, why=why)


def _words(kind: type, key: str) -> tuple[str, ...]:
    return tuple(w for p in choices(hints(kind)[key]) if typing.get_origin(p) is Literal for w in typing.get_args(p))


def _serving(system: System) -> list[Component]:
    return [c for c in system.components if c.kind in SERVES or (c.kind is None and c.model is not None)]


def _shows(system: System, part: str) -> bool:
    """Whether the description speaks of such a part already."""
    kinds = {c.kind for c in system.components}
    verbs = {verb for row in system.access for verb in (*row.can, *row.unsure)}
    if part == "feedback":
        return "feedback" in kinds or "write_feedback" in verbs
    if part == "data":
        # A trainer whose sources are named, be it as an empty list, says where all its records come from.
        named = any(c.training and f"{c.id}.training.sources" in system.places for c in system.components)
        return named or "data_source" in kinds
    if part == "labels":
        return "label_source" in kinds or "write_labels" in verbs or any(p.kind == "labeller" for p in system.principals)
    if part == "registry":
        return bool({"registry", "model_artifact"} & kinds)
    return "human_review" in kinds or (system.decision is not None and system.decision.human_review is not None)


# Answers -------------------------------------------------------------------------------------------------------------


def opened(text: str, system: System, ask: Ask, answer: str) -> str:
    """The description with the answer to an opening question in it; every other byte stays.

    Raises:
        UsageError: The answer is none of those that the question has.
    """
    answer = answer.strip()
    if ask.path == "system.name" and answer == "unknown":
        return text  # it has the name of its file
    if not ask.path.startswith("opening("):
        return answered(text, system, ask, answer)
    if answer not in (*ask.allowed, "unknown"):
        raise UsageError(f"{answer!r} is no answer to that; allowed: {', '.join(ask.allowed)}, unknown")
    what = ask.path.removeprefix("opening(").removesuffix(")")
    new = _New(system)
    if what == "caller":
        new.caller(answer)
    elif what == "device":
        new.model(answer)
    else:
        new.part(what, answer)
    return spliced(text, ask.path, new.changes)


class _New:
    """What an answer adds to a description."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.changes: list[Change] = []
        self.taken: set[str] = set()

    def add(self, section: str, wanted: str, comment: str = "", **facts: str) -> str:
        """A new element; its id is `wanted`, or near it where that is taken."""
        id = free_id(wanted, self.system, self.taken)
        self.taken.add(id)
        tree: Tree = {key: Leaf(value, word=True) for key, value in facts.items()}
        self.changes.append(Change(section, {"id": id}, tree, comment))
        return id

    def flow(self, start: str, end: str) -> None:
        if not any((flow.from_, flow.to) == (start, end) for flow in self.system.flows):
            self.changes.append(Change("flows", {"from": start, "to": end}))

    def access(self, who: str, on: str, can: Iterable[Can], unsure: Iterable[Can] = ()) -> None:
        tree: Tree = {"can": Leaf(list(can), word=True)}
        if unsure:
            tree["unsure"] = Leaf(list(unsure), word=True)
        self.changes.append(Change("access", {"principal": who, "on": on}, tree))

    def zone(self, trust: str, wanted: str) -> str:
        """The zone of that trust, a new one where there is none."""
        known = next((zone.id for zone in self.system.zones if zone.trust == trust), "")
        return known or self.add("zones", wanted, trust=trust)

    # The shape

    def caller(self, kind: str) -> None:
        facts = {"zone": self.zone("public", "outside")} if kind in _OUTSIDE else {}
        who = self.add("principals", "caller", kind=kind, **facts)
        serving = _serving(self.system)
        reached = {flow.to for flow in self.system.flows}
        for component in [c for c in serving if c.id not in reached] or serving:
            self.calls(who, component.id, "yes" if component.kind == "edge_runtime" else "unknown")

    def calls(self, who: str, on: str, on_device: str) -> None:
        self.flow(who, on)
        holds: dict[str, list[Can]] = {"yes": ["read_binary"], "unknown": [], "no": []}
        maybe: dict[str, list[Can]] = {"unknown": ["read_binary"], "yes": [], "no": []}
        self.access(who, on, ["query", *holds[on_device]], ["see_label", "see_score", *maybe[on_device]])

    def model(self, on_device: str) -> None:
        if on_device == "yes":
            id = self.add("components", "app", kind="edge_runtime", zone=self.zone("user_device", "device"))
        else:
            comment = "" if on_device == "no" else "taken to be a server; whether it runs on the user's device is not known"
            id = self.add("components", "api", comment, kind="server")
        busy = {row.principal for row in self.system.access}
        for who in self.system.principals:
            if who.id not in busy and who.kind in (*CALLERS, None):
                self.calls(who.id, id, on_device)

    # Its parts

    def part(self, name: str, answer: str) -> None:
        without = _PARTS[name].without
        stated = any(a.text == without for a in self.system.assumptions)
        if answer == "yes":
            getattr(self, f"_{name}")()
        if answer != "yes" or stated:
            validity = {"yes": "rejected", "no": "confirmed", "unknown": "unconfirmed"}[answer]
            self.changes.append(Change("assumptions", {"text": without}, {"validity": Leaf(validity, word=True)}))

    def trainer(self) -> str:
        """What learns: the trainer of the description, or a new one that gives its model to what serves."""
        known = [c for c in self.system.components if c.trains]
        if known:
            return min(known, key=lambda c: c.kind != "trainer").id
        id = self.add("components", "training", kind="trainer")
        for component in _serving(self.system):
            self.flow(id, component.id)
        return id

    def _feedback(self) -> None:
        id = self.add("components", "feedback", kind="feedback")
        self.flow(id, self.trainer())
        serving = {c.id for c in _serving(self.system)}
        callers = {row.principal for row in self.system.access if row.on in serving and "query" in (*row.can, *row.unsure)}
        for who in sorted(callers) or [p.id for p in self.system.principals[:1]]:
            self.flow(who, id)
            self.access(who, id, ["write_feedback"])

    def _data(self) -> None:
        who = self.add("principals", "supplier", kind="data_provider")
        id = self.add("components", "records", kind="data_source")
        self.flow(who, id)
        self.flow(id, self.trainer())
        self.access(who, id, ["inject_data"])

    def _labels(self) -> None:
        who = self.add("principals", "labeller", kind="labeller")
        id = self.add("components", "labels", kind="label_source")
        self.flow(who, id)
        self.flow(id, self.trainer())
        self.access(who, id, ["write_labels"])

    def _registry(self) -> None:
        id = self.add("components", "registry", kind="registry")
        for component in _serving(self.system):
            self.flow(id, component.id)

    def _review(self) -> None:
        id = self.add("components", "review", kind="human_review")
        for component in _serving(self.system):
            self.flow(component.id, id)
