"""What follows from a System: routes, what a principal can send, sees, knows and influences.

Nothing here guesses. A capability that a row lists under `unsure` makes the answer unknown, and every answer
carries the access rows it rests on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from casemate.core.system import NO, UNKNOWN, YES, Access, Component, Flow, Parent, System, Truth

LEVELS = ("none", "label", "topk", "score", "logits")
SENDS = ("query", "inject_data", "control_sensor", "replay")
WRITES = ("inject_data", "modify_data", "write_labels", "write_feedback")
_SEES = {"see_decision": "label", "see_label": "label", "see_score": "score", "see_logits": "logits"}
_NOT_INPUT = ("model_artifact", "registry", "ci", "dependency_set")  # a flow into these carries no record
# What is not a vector of scores still tells an attacker at least as much as one.
_SHOWS = {"embedding": "score", "explanation": "score"}


@dataclass(frozen=True, slots=True)
class Grant:
    """Whether a principal holds a capability, and the access rows that say so (or leave it open)."""

    truth: Truth
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a principal sees of a component's output, by `LEVELS`. `capped` says which component shows less than
    the access row claims; `unsure` is what it would be if every unchecked capability were held."""

    level: str
    unsure: str
    because: tuple[str, ...] = ()
    capped: str = ""

    def at_least(self, level: str) -> Truth:
        wanted = LEVELS.index(level)
        if LEVELS.index(self.level) >= wanted:
            return YES
        return UNKNOWN if LEVELS.index(self.unsure) >= wanted else NO


def rows_of(system: System, principal: str) -> tuple[Access, ...]:
    """The access rows of one principal."""
    by_principal: dict[str, tuple[Access, ...]] | None = system._found.get("rows")
    if by_principal is None:
        by_principal = {p.id: tuple(r for r in system.access if r.principal == p.id) for p in system.principals}
        system._found["rows"] = by_principal
    return by_principal.get(principal, ())


def holds(system: System, principal: str, capabilities: Collection[str], places: Collection[str]) -> Grant:
    """Whether the principal has any of the capabilities on any of the places. A row on a flow acts on its end."""
    sure: list[str] = []
    open_: list[str] = []
    for row in rows_of(system, principal):
        held = [can for can in row.can if can in capabilities]
        unsure = [can for can in row.unsure if can in capabilities]
        if (held or unsure) and (row.on in places or _end(system, row.on) in places):
            sure += [f"{row.id}: {can}" for can in held]
            open_ += [f"{row.id}: {can}" for can in unsure]
    if sure:
        return Grant(YES, tuple(sure))
    return Grant(UNKNOWN, tuple(open_)) if open_ else Grant(NO)


def _end(system: System, on: str) -> str:
    element = system.element(on)
    return element.to if isinstance(element, Flow) else ""


def reach(system: System, principal: str, component: str) -> tuple[str, ...]:
    """A shortest route from a principal to a component, or (): by its flows, or from where it may act."""
    starts = [principal, *(row.on for row in rows_of(system, principal))]
    paths: dict[str, tuple[str, ...]] = {principal: (principal,)}
    for on in starts[1:]:
        element = system.element(on)
        at = element.to if isinstance(element, Flow) else on
        paths.setdefault(at, (principal, at))
    queue = list(paths)
    for at in queue:  # grows while it is walked
        for after in _onward(system, at):
            if after not in paths:
                paths[after] = (*paths[at], after)
                queue.append(after)
    return paths.get(component, ())


def _onward(system: System, at: str) -> list[str]:
    found: list[str] = system._found["onward"].get(at, [])
    return found


def trainers(system: System, component: str) -> tuple[str, ...]:
    """The components that train this one: itself or those upstream that have a training record."""
    key = f"trainers {component}"
    if key not in system._found:
        upstream = (system.element(id) for id in system.closure((component,), back=True))
        system._found[key] = tuple(e.id for e in upstream if isinstance(e, Component) and e.trains)
    found: tuple[str, ...] = system._found[key]
    return found


def training_inputs(system: System, component: str) -> tuple[str, ...]:
    """Every place from which records reach the training of the component."""
    key = f"training_inputs {component}"
    if key not in system._found:
        teachers = trainers(system, component)
        sources = [s for t in teachers if (record := system.component(t).training) for s in record.sources]
        system._found[key] = system.closure((*teachers, *sources), back=True)
    found: tuple[str, ...] = system._found[key]
    return found


def can_contribute(system: System, principal: str, component: str) -> Grant:
    """Whether what the principal writes becomes training data of the component."""
    places = training_inputs(system, component)
    grant = holds(system, principal, WRITES, places)
    return grant if grant.truth is not NO else _unstated(system, principal, places, "inject_data")


def can_submit(system: System, principal: str, component: str) -> Grant:
    """Whether the principal chooses inputs that the component decides on: directly, or upstream of it.

    What enters only through a trainer is a training record, not an input. Where a component trains itself,
    `inject_data` on it is read as a contribution.
    """
    places = system.closure((component,), back=True, past_trainers=False)
    sends = [can for can in SENDS if can != "inject_data"]
    direct = holds(system, principal, sends, places)
    element = system.element(component)
    around = places[1:] if isinstance(element, Component) and element.trains else places
    injected = holds(system, principal, ("inject_data",), around)
    if direct.truth is YES or (direct.truth is UNKNOWN and injected.truth is not YES):
        return direct
    return injected if injected.truth is not NO else _unstated(system, principal, places, "query")


def _unstated(system: System, principal: str, places: tuple[str, ...], capability: str) -> Grant:
    """A flow from a principal to where no access row speaks of it: not a no, but a question."""
    ends = [to for to in _onward(system, principal) if to in places]
    if not ends:
        return Grant(NO)
    spoken = {row.on for row in rows_of(system, principal)}
    ends = [to for to in ends if to not in spoken and f"{principal}->{to}" not in spoken]
    ends = [to for to in ends if system.component(to).kind not in _NOT_INPUT]
    return Grant(UNKNOWN, tuple(f"access({principal}, {to}): {capability}" for to in ends)) if ends else Grant(NO)


def effective_output(system: System, principal: str, component: str) -> Seen:
    """What the principal sees of the component's decision: the access row, capped by what is really shown.

    Every component on the way may declare a poorer `model.output`; the poorest on a route counts, and of several
    routes the richest.
    """
    shown = _widest(system, component)
    level, unsure, because, capped = 0, 0, [], ""
    for row in rows_of(system, principal):
        element = system.element(row.on)
        at = element.from_ if isinstance(element, Flow) else row.on
        if at not in shown:
            continue
        cap, by = shown[at]
        for can in (*row.can, *row.unsure):
            if can not in _SEES:
                continue
            claimed = LEVELS.index(_SEES[can])
            seen = min(claimed, cap)
            unsure = max(unsure, seen)
            if can in row.can:
                because.append(f"{row.id}: {can}")
                capped = by if claimed > cap else capped
                level = max(level, seen)
    return Seen(LEVELS[level], LEVELS[unsure], tuple(because), capped)


def _widest(system: System, component: str) -> dict[str, tuple[int, str]]:
    """The richest output that arrives at each place downstream, and the component that limits it."""
    key = f"widest {component}"
    if key not in system._found:
        best: dict[str, tuple[int, str]] = {}
        queue = [(component, len(LEVELS) - 1, "")]
        for at, level, by in queue:  # grows while it is walked; a place returns only when it got richer
            model = getattr(system.element(at), "model", None)
            output = model.output if model else None
            if output and LEVELS.index(_SHOWS.get(output, output)) < level:
                level, by = LEVELS.index(_SHOWS.get(output, output)), at
            if at not in best or best[at][0] < level:
                best[at] = (level, by)
                queue += [(after, level, by) for after in _onward(system, at)]
        system._found[key] = best
    found: dict[str, tuple[int, str]] = system._found[key]
    return found


def model_places(system: System, component: str) -> tuple[str, ...]:
    """Where a copy of the component's model lies: the component, and the artifacts and registries that feed it."""
    upstream = system.closure((component,), back=True, past_trainers=False)
    kept = [id for id in upstream[1:] if getattr(system.element(id), "kind", "") in ("model_artifact", "registry")]
    return (component, *kept)


def documented(system: System, component: str) -> Truth:
    """Whether an outsider can read how the component is trained."""
    answer = NO
    for teacher in trainers(system, component):
        training = system.component(teacher).training
        answer |= training.documented if training else UNKNOWN
    return answer if trainers(system, component) else UNKNOWN


def knowledge(system: System, principal: str, component: str) -> tuple[str, ...]:
    """What the principal knows of the model without asking it: weights, parent, data, recipe."""
    provenance = system.component(component).provenance
    parent = provenance.parent if provenance else None
    data = training_inputs(system, component)
    known = {
        "weights": holds(system, principal, ("read_weights", "read_binary"), model_places(system, component)).truth,
        "parent": parent.public if isinstance(parent, Parent) else NO,
        "data": holds(system, principal, ("read_data",), (component, *data)).truth,
        "recipe": documented(system, component),
    }
    return tuple(word for word, truth in known.items() if truth is YES)


def influence(system: System, principal: str, component: str) -> float | None:
    """The share of the training set the principal can write, or None where its size or the budget is unknown."""
    if can_contribute(system, principal, component).truth is not YES:
        return 0.0
    places = set(training_inputs(system, component))
    budgets = [row.budget for row in rows_of(system, principal) if row.on in places and row.budget]
    samples = sum(b.samples or 0 for b in budgets)
    held = {asset for id in places for asset in getattr(system.element(id), "holds", ())}
    sizes = [a.population for a in system.assets if a.id in held and a.kind == "training_data" and a.population]
    return min(1.0, samples / (samples + sum(sizes))) if samples and sizes else None


def crosses(system: System, flow: str) -> tuple[Truth, str]:
    """Whether a flow leads from one zone into another, and what says so: its own word, or the zones of its ends."""
    element = system.element(flow)
    if element.crosses != "auto":
        return Truth(element.crosses), f"{element.crosses}, as stated"
    ends = [system.element(id).zone for id in (element.from_, element.to)]
    if not all(ends):
        return UNKNOWN, "unknown"
    return Truth.of(ends[0] != ends[1]), f"{ends[0]} to {ends[1]}"
