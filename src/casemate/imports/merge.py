"""Lay what importers found over a description. What a person asserted stays; what nobody stated is filled in.

    found = [read("README.md"), read("openapi.yaml")]
    merged = merge(Path("system.yaml").read_text(), found, name="system.yaml")
    merged.text           # the description with what was missing, each as {value: ..., source: imported}
    merged.differences    # what the files and the description disagree on: nothing was changed
    merged.conflicts      # what two files disagree on: nothing was written

    again = merge(text, found, name="system.yaml", accept=["api.endpoint.auth"])   # take the imported value there
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from casemate.core.errors import BadSystem, UnknownName, UsageError
from casemate.core.fact import NO, UNKNOWN
from casemate.core.shape import field_key
from casemate.core.system import System
from casemate.imports.accept import WHICH, Accepted, of_a_file, other_files
from casemate.imports.claims import (
    IDENTITY,
    SECTIONS,
    SERVES,
    Claim,
    Proposed,
    claims,
    comparable,
    field_hint,
    is_word,
    misfit,
    model_component,
    one_line,
    plain,
    proposed,
    without_clashes,
)
from casemate.imports.found import Import
from casemate.imports.gather import MODEL
from casemate.imports.merged import Conflict, Difference, Merged, Unplaced
from casemate.imports.splice import Change, Leaf, Splicer, Tree, quoted
from casemate.threats.load import VERSION, loads

_ODD = re.compile(r"[^\w .,:/@+()-]")


__all__ = ["Conflict", "Difference", "Merged", "Unplaced", "merge"]


def merge(
    text: str | None,
    imports: Sequence[Import],
    *,
    name: str,
    accept: Collection[str] = (),
    component: str | None = None,
    folder: str = "",
) -> Merged:
    """The description with what the imports found.

    Args:
        text: A description as YAML (or JSON); None starts a new one.
        imports: From `read`, in any order: no file outranks another.
        name: The description's file in messages. A new description is called after it.
        accept: Paths of differences where the imported value is to replace the stated one. `$model` may stand for its
            component. `PATH=FILE` takes what that file says, where files conflict.
        component: The id of the component that `$model` means, where that is not clear.
        folder: Where `extends` and `includes` are looked up.

    Raises:
        BadSystem: The description cannot be read.
        UnknownName: `accept` names no difference, or `component` no component.
    """
    system = loads(text, name=name, folder=folder) if text is not None else None
    imports, notes = without_clashes([one_line(found) for found in imports], system)
    model, unclear = model_component(imports, system, component)
    if model and any(fact.path.startswith(f"{MODEL}.") for found in imports for fact in found.facts):
        notes += (f"the facts about the model are taken to be about {model}",)
    state = _Merging(system, text if text is not None else _new(name), model, unclear)
    state.elements(e for found in imports for e in proposed(found))
    by_path = _by_path(claims(imports, model))
    state.accept = Accepted(accept, model)
    state.others = other_files(by_path, state.stated, state.accept)
    for path, listed in by_path.items():
        state.fact(path, listed)
    state.accept.check(state.open_ones())
    return state.done(name, folder, notes)


def _new(name: str) -> str:
    stem = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem = re.sub(r"\.(ya?ml|json)\Z", "", stem) or "system"
    return f"casemate: {VERSION}\nsystem:\n  name: {quoted(stem) if not re.fullmatch(r'[A-Za-z][A-Za-z_-]*', stem) else stem}\n"


def _by_path(listed: Iterable[Claim]) -> dict[str, list[Claim]]:
    found: dict[str, list[Claim]] = {}
    for claim in listed:
        found.setdefault(claim.path, []).append(claim)
    return found


@dataclass(slots=True)
class _Merging:
    """A merge while it goes on."""

    system: System | None
    text: str
    model: str
    unclear: str
    splicer: Splicer = field(init=False)
    changes: dict[tuple[str, str], Change] = field(default_factory=dict)
    fresh: dict[str, Proposed] = field(default_factory=dict)  # by the id under which facts speak of it
    added: list[Claim] = field(default_factory=list)
    kept: list[Claim] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    accepted: list[Difference] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)
    accept: Accepted = field(default_factory=lambda: Accepted((), ""))
    others: dict[tuple[str, str], str] = field(default_factory=dict)  # files about another model: by component and file
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    index: dict[str, tuple[str, Any]] = field(default_factory=dict)  # the elements of the description by their names

    unnamed: set[tuple[str, str]] = field(default_factory=set)  # its access rows and assumptions, as changes are named

    def __post_init__(self) -> None:
        self.splicer = Splicer(self.text)
        for section in ("access", "assumptions") if self.system is not None else ():
            for row in getattr(self.system, section):
                self.unnamed.add((section, str({key: getattr(row, key) for key in IDENTITY[section]})))
        for section in SECTIONS if self.system is not None else ():
            for element in getattr(self.system, section) if section not in ("access", "assumptions") else ():
                self.index[element.id] = (section, element)
                if section == "flows":  # found by its ends too, whatever id it has
                    self.index.setdefault(f"{element.from_}->{element.to}", (section, element))

    # Elements ------------------------------------------------------------------------------------------------------

    def elements(self, listed: Iterable[Proposed]) -> None:
        """Take in the elements that are new, those that others name first."""
        order = list(SECTIONS)
        for element in sorted(listed, key=lambda e: order.index(e.section)):
            if self._is_there(element):
                continue
            ends = [end for key in ("from", "to", "principal", "on") if (end := element.identity.get(key, ""))]
            missing = [end for end in ends if self._section(end) is None]
            why = f"there is no {', '.join(missing)}" if missing else ""
            if self.splicer.has(element.section, element.identity):
                why = "the description takes it out (`remove`)"
            if why:
                claim = Claim(path=self._title(element), value="", file=element.file, because="proposed")
                self.unplaced.append(Unplaced(claim, why))
            else:
                self._add(element)

    def _is_there(self, element: Proposed) -> bool:
        if element.id:
            return self._section(element.id) is not None
        key = (element.section, str(dict(element.identity)))
        return key in self.unnamed or key in self.changes

    def _title(self, element: Proposed) -> str:
        return f"{element.section} {element.id or ' '.join(element.identity.values())}"

    def _add(self, element: Proposed) -> None:
        comment = f"imported from {_ODD.sub('?', element.file)[-80:]}"
        change = Change(element.section, element.identity, {}, comment)
        self.changes[element.section, str(dict(element.identity))] = change
        self.names.append(self._title(element))
        if element.id:
            self.fresh[element.id] = element
            return
        for key, value in element.stated.items():  # of access and assumptions no fact speaks
            try:
                hint, _ = field_hint(SECTIONS[element.section], [key])
            except UnknownName:
                continue
            if not misfit(value, hint):
                change.tree[key] = Leaf(value, "imported", is_word(hint) or isinstance(value, (list, tuple)))

    def _section(self, id: str) -> str | None:
        """In which section the element is, in the description or among the new ones."""
        if id in self.fresh:
            return self.fresh[id].section
        return self.index[id][0] if id in self.index else None

    # Facts ---------------------------------------------------------------------------------------------------------

    def stated(self, path: str) -> Any:
        """What the description says at a path; a flow is found by its ends too. None where it says nothing."""
        owner, _, rest = path.partition(".")
        if self.system is None or owner in self.fresh or not (owner in self.index or owner == "system"):
            return None
        id = self.index[owner][1].id if owner in self.index else owner
        try:
            return _stated(self.system, f"{id}.{rest}")
        except UnknownName:
            return None

    def open_ones(self) -> list[str]:
        """What `accept` could name."""
        conflicting = [f"{c.path}={claim.file}" for c in self.conflicts for claim in c.claims]
        return [d.path for d in (*self.differences, *self.accepted)] + conflicting

    def _of_this_file(self, path: str, listed: list[Claim]) -> list[Claim]:
        """The claims without those of files about another model, which are held back if they would be written."""
        owner, _, rest = path.partition(".")
        alike = all(listed[0].same(c.value) for c in listed)
        if not of_a_file(path) or self.stated(path) is not None or (rest in WHICH and not alike):
            return listed
        kept = []
        for claim in listed:
            why = self.others.get((owner, claim.file), "")
            if why and not self.accept.takes(path, claim.file):
                self.unplaced.append(Unplaced(claim, why))
            else:
                kept.append(claim)
        return kept

    def fact(self, path: str, listed: list[Claim]) -> None:
        listed = self._of_this_file(path, listed)
        if listed and not all(listed[0].same(c.value) for c in listed):
            listed = self.accept.chosen(listed) or listed
        if not listed:
            return
        claim = listed[0]
        if path.startswith(f"{MODEL}."):
            self.unplaced += [Unplaced(c, self.unclear) for c in listed]
            return
        owner, _, rest = path.partition(".")
        keys = rest.split(".")
        if owner == self.model and self._section(owner) is None:
            self._make_model()
        section = "system" if owner == "system" else self._section(owner)
        why = self._unfit(owner, section, keys, claim) if all(claim.same(c.value) for c in listed) else ""
        if why:
            self.unplaced.append(Unplaced(claim, why))
        elif not all(claim.same(c.value) for c in listed):
            self.conflicts.append(Conflict(path, tuple(listed)))
        else:
            self._settle(claim, section or "", owner, keys)

    def _make_model(self) -> None:
        element = Proposed("components", {"id": self.model}, {}, "")
        change = Change("components", element.identity, {}, "the model; edge_runtime where it runs on somebody's device")
        change.tree["kind"] = Leaf(SERVES[0], word=True)
        self.changes["components", str(dict(element.identity))] = change
        self.fresh[self.model] = element
        self.names.append(f"components {self.model}")
        self.notes.append(f"no component serves a model yet: {self.model} was made, and taken to be a server")

    def _unfit(self, owner: str, section: str | None, keys: list[str], claim: Claim) -> str:
        """Why this fact has no place in the language or in this description."""
        if section is None:
            return f"there is no {owner}"
        try:
            hint, refs = field_hint(System if section == "system" else SECTIONS[section], keys)
        except UnknownName as error:
            return str(error)
        if misfit(claim.value, hint):
            return "is no value of that fact"
        named = claim.value if isinstance(claim.value, (list, tuple)) else [claim.value]
        strangers = [id for id in named if refs and self._section(str(id)) not in refs]
        return f"there is no {', '.join(map(str, strangers))}" if strangers else ""

    def _settle(self, claim: Claim, section: str, owner: str, keys: list[str]) -> None:
        element = self.index[owner][1] if owner in self.index else None
        known = f"{element.id if element is not None else owner}.{'.'.join(keys)}"
        stated = None if owner in self.fresh or self.system is None else _stated(self.system, known)
        if stated is not None and claim.same(stated):
            self.kept.append(claim)
            return
        change = self._change(section, owner, element)
        if stated is not None:
            assert self.system is not None
            difference = Difference(
                path=claim.path, stated=stated, stated_source=self.system.sources.get(known, "asserted"),
                stated_place=self.system.place(known), imported=claim.value, imported_from=claim.file, because=claim.because,
            )  # fmt: skip
            if not self.accept.takes(claim.path, claim.file):
                self.differences.append(difference)
                return
        why = "" if owner in self.fresh else self.splicer.obstacle(section, change.identity, keys)
        if why:
            self.unplaced.append(Unplaced(claim, why))
            return
        if stated is not None:
            self.accepted.append(difference)
        else:
            self.added.append(claim)
        hint, _ = field_hint(System if section == "system" else SECTIONS[section], keys)
        _put(change.tree, keys, Leaf(claim.value, "imported", is_word(hint)))

    def _change(self, section: str, owner: str, element: Any) -> Change:
        if owner in self.fresh:
            identity = self.fresh[owner].identity
        elif section == "flows":
            # Named as the text names it: by its id where it has one of its own.
            own = element.id != f"{element.from_}->{element.to}"
            identity = {"id": element.id} if own else {"from": element.from_, "to": element.to}
        else:
            identity = {} if section == "system" else {"id": owner}
        return self.changes.setdefault((section, str(dict(identity))), Change(section, identity))

    # The end -------------------------------------------------------------------------------------------------------

    def done(self, name: str, folder: str, notes: tuple[str, ...]) -> Merged:
        wanted = [change for change in self.changes.values() if change.tree or change.comment]
        for change in wanted:
            change.tree = _in_order(change)
        text = self.splicer.apply(wanted)
        try:
            if text != self.text or self.system is None:
                loads(text, name=name, folder=folder)
        except BadSystem as error:
            raise UsageError(f"{name}: what was imported does not fit into it:\n{error}") from None
        return Merged(
            text=text, added=tuple(self.added), kept=tuple(self.kept), differences=tuple(self.differences),
            accepted=tuple(self.accepted), conflicts=tuple(self.conflicts), unplaced=tuple(self.unplaced),
            elements=tuple(self.names), notes=(*notes, *self.notes),
        )  # fmt: skip


def _in_order(change: Change) -> Tree:
    """The keys of an element in the order of the language."""
    if change.section == "system":
        return change.tree
    order = [field_key(f) for f in fields(SECTIONS[change.section])]
    return dict(sorted(change.tree.items(), key=lambda entry: order.index(entry[0])))


def _put(tree: Tree, keys: list[str], leaf: Leaf) -> None:
    for key in keys[:-1]:
        inner = tree.setdefault(key, {})
        if isinstance(inner, Leaf):  # `parent: none` and `parent.ref` at once: the first stands
            return
        tree = inner
    tree.setdefault(keys[-1], leaf)


def _stated(system: System, path: str) -> Any:
    """What a description says at a path, as plain data; None where it says nothing or "unknown"."""
    value = system.fact(path).value
    if value is UNKNOWN or value is None:
        return None
    if path in system.places:
        return plain(value)
    # Not written there: a default, or the consequence of "none" above it.
    above = path
    while "." in above and above not in system.places:
        above = above.rpartition(".")[0]
    below_none = above != path and "." in above and comparable(value) in ("none", NO.value)
    return plain(value) if below_none and system.fact(above).value == "none" else None
