"""What follows from a System: routes, what a principal can send, sees, knows and influences.

Nothing here guesses. A capability that a row lists under `unsure` makes the answer unknown, and every answer
carries the access rows it rests on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from casemate.core.reach import Places
from casemate.core.system import NO, UNKNOWN, YES, Access, Component, Flow, System, Truth

LEVELS = ("none", "label", "topk", "score", "logits")
SENDS = ("query", "inject_data", "control_sensor", "replay")
_ASKS = tuple(can for can in SENDS if can != "inject_data")
WRITES = ("inject_data", "modify_data", "write_labels", "write_feedback")
SEES = {"see_decision": "label", "see_label": "label", "see_score": "score", "see_logits": "logits"}
_RECORDS = ("data_source", "label_source", "feedback", "log_store")
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
        listed: dict[str, list[Access]] = {}
        for row in system.access:
            listed.setdefault(row.principal, []).append(row)
        by_principal = system._found["rows"] = {id: tuple(rows) for id, rows in listed.items()}
    return by_principal.get(principal, ())


def holds(system: System, principal: str, capabilities: Collection[str], places: Collection[str]) -> Grant:
    """Whether the principal has any of the capabilities on any of the places. A row on a flow acts on its end."""
    sure: list[str] = []
    open_: list[str] = []
    mask, rows = _speaking(system, principal, tuple(capabilities))
    if isinstance(places, Places) and not mask & places.mask:
        return Grant(NO)
    for row, held, unsure in rows:
        if row.on in places or end_of(system, row.on) in places:
            sure += held
            open_ += unsure
    if sure:
        return Grant(YES, tuple(sure))
    return Grant(UNKNOWN, tuple(open_)) if open_ else Grant(NO)


_Row: TypeAlias = tuple[Access, list[str], list[str]]


def _speaking(system: System, principal: str, capabilities: tuple[str, ...]) -> tuple[int, list[_Row]]:
    """The rows of a principal that speak of any of the capabilities, with what they grant and leave open; and all the
    places where they stand, as bits."""
    key = ("speaking", principal, capabilities)
    if key not in system._found:
        rows: list[_Row] = []
        for row in rows_of(system, principal):
            held = [f"{row.id}: {can}" for can in row.can if can in capabilities]
            unsure = [f"{row.id}: {can}" for can in row.unsure if can in capabilities]
            if held or unsure:
                rows.append((row, held, unsure))
        stands = system.group(end_of(system, row.on) or row.on for row, _, _ in rows)
        system._found[key] = stands.mask, rows
    found: tuple[int, list[_Row]] = system._found[key]
    return found


def end_of(system: System, on: str) -> str:
    """Where a flow leads; nothing for what is no flow."""
    element = system.element(on)
    return element.to if isinstance(element, Flow) else ""


def reach(system: System, principal: str, component: str) -> tuple[str, ...]:
    """A shortest route from a principal to a component, or (): by its flows, or from where it may act."""
    came: dict[str, str] = {principal: ""}
    for row in rows_of(system, principal):
        came.setdefault(end_of(system, row.on) or row.on, principal)
    queue = list(came)
    for at in queue:  # grows while it is walked
        for after in _onward(system, at):
            if after not in came:
                came[after] = at
                queue.append(after)
    route = [component] if component in came else []
    while route and came[route[-1]]:
        route.append(came[route[-1]])
    return tuple(reversed(route))


def _onward(system: System, at: str) -> list[str]:
    found: list[str] = system._found["onward"].get(at, [])
    return found


def trainers(system: System, component: str) -> tuple[str, ...]:
    """The components that train this one: itself or those upstream that have a training record, nearest first."""
    key = ("trainers", component)
    if key not in system._found:
        if "training" not in system._found:
            system._found["training"] = system.group(c.id for c in system.components if c.trains)
        training: Places = system._found["training"]
        upstream = system.around((component,), back=True)
        found = tuple(upstream & training)
        if len(found) > 1:
            found = tuple(id for id in system.closure((component,), back=True) if id in training)
        system._found[key] = found
    teachers: tuple[str, ...] = system._found[key]
    return teachers


def training_inputs(system: System, component: str) -> Places:
    """Every place from which records reach the training of the component."""
    key = ("training_inputs", component)
    if key not in system._found:
        found = system.around(taught_by(system, component), back=True)
        system._found[key] = found | system.group(trainers(system, component))
    places: Places = system._found[key]
    return places


def taught_by(system: System, component: str) -> tuple[str, ...]:
    """Where the records of its training arrive: its trainers, and the sources that they name.

    What flows into a trainer that also serves is input, not records, unless it comes from where records are kept or the
    model is known to learn from its inputs.
    """
    found: list[str] = []
    for id in trainers(system, component):
        teacher = system.component(id)
        found += teacher.training.sources if teacher.training else ()
        if teacher.kind in ("server", "edge_runtime") and not (teacher.model and teacher.model.online_learning is YES):
            before = system._found["back"].get(id, ())
            found += [at for at in before if getattr(system.element(at), "kind", "") in _RECORDS]
        else:
            found.append(id)
    return tuple(dict.fromkeys(found))


def can_contribute(system: System, principal: str, component: str) -> Grant:
    """Whether what the principal writes becomes training data of the component."""
    key = ("contributes", principal, component)
    if key not in system._found:
        places = training_inputs(system, component)
        grant = holds(system, principal, WRITES, places)
        system._found[key] = grant if grant.truth is not NO else _unstated(system, principal, places, "inject_data")
    found: Grant = system._found[key]
    return found


def can_submit(system: System, principal: str, component: str) -> Grant:
    """Whether the principal chooses inputs that the component decides on: directly, or upstream of it.

    What enters only through a trainer is a training record, not an input. Where a component trains itself,
    `inject_data` on it is read as a contribution.
    """
    key = ("submits", principal, component)
    if key not in system._found:
        system._found[key] = _submits(system, principal, component)
    found: Grant = system._found[key]
    return found


def _submits(system: System, principal: str, component: str) -> Grant:
    places = system.around((component,), back=True, past_trainers=False)
    direct = holds(system, principal, _ASKS, places)
    element = system.element(component)
    around = places.without(component) if isinstance(element, Component) and element.trains else places
    injected = holds(system, principal, ("inject_data",), around)
    if direct.truth is YES or (direct.truth is UNKNOWN and injected.truth is not YES):
        return direct
    return injected if injected.truth is not NO else _unstated(system, principal, places, "query")


def _unstated(system: System, principal: str, places: Collection[str], capability: str) -> Grant:
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
    key = ("seen", principal, component)
    if key not in system._found:
        system._found[key] = _seen(system, principal, component)
    found: Seen = system._found[key]
    return found


def _seen(system: System, principal: str, component: str) -> Seen:
    shown = _widest(system, component)
    level, unsure, because, capped = 0, 0, [], ""
    for at, claims in _looks(system, principal):
        if at not in shown:
            continue
        cap, by = shown[at]
        for claimed, held, row in claims:
            seen = min(claimed, cap)
            unsure = max(unsure, seen)
            if held:
                because.append(row)
                capped = by if claimed > cap else capped
                level = max(level, seen)
    return Seen(LEVELS[level], LEVELS[unsure], tuple(because), capped)


_Claim: TypeAlias = tuple[int, bool, str]


def _looks(system: System, principal: str) -> list[tuple[str, list[_Claim]]]:
    """Where the rows of a principal let it look, with what each claims to see there (by `LEVELS`), whether that is sure,
    and the row and capability as text."""
    key = ("looks", principal)
    if key not in system._found:
        looks: list[tuple[str, list[_Claim]]] = []
        for row in rows_of(system, principal):
            element = system.element(row.on)
            cans = [can for can in (*row.can, *row.unsure) if can in SEES]
            claims = [(LEVELS.index(SEES[can]), can in row.can, f"{row.id}: {can}") for can in cans]
            looks += [(element.from_ if isinstance(element, Flow) else row.on, claims)] if claims else []
        system._found[key] = looks
    found: list[tuple[str, list[_Claim]]] = system._found[key]
    return found


def _widest(system: System, component: str) -> dict[str, tuple[int, str]]:
    """The richest output that arrives at each watched place downstream, and the component that limits it."""
    key = ("widest", component)
    if key not in system._found:
        caps, watched = _caps(system), _watched(system)
        onward: dict[str, list[str]] = system._found["onward"]
        best: dict[str, tuple[int, str]] = {}
        queue = [(component, len(LEVELS) - 1, "")]
        for at, level, by in queue:  # grows while it is walked; a place returns only when it got richer
            cap = caps.get(at)
            if cap is not None and cap < level:
                level, by = cap, at
            if at not in best or best[at][0] < level:
                best[at] = (level, by)
                poorer = [after for after in onward.get(at, ()) if after not in best or best[after][0] < level]
                queue += [(after, level, by) for after in poorer]
        system._found[key] = {at: best[at] for at in best.keys() & watched}
    found: dict[str, tuple[int, str]] = system._found[key]
    return found


def _caps(system: System) -> dict[str, int]:
    """The richest output, by `LEVELS`, that each component shows; left out where it does not say."""
    if "caps" not in system._found:
        shown = {c.id: c.model.output for c in system.components if c.model and c.model.output}
        system._found["caps"] = {id: LEVELS.index(_SHOWS.get(output, output)) for id, output in shown.items()}
    found: dict[str, int] = system._found["caps"]
    return found


def _watched(system: System) -> set[str]:
    """Where somebody looks: the places of all access rows, for a row on a flow where it starts."""
    if "watched" not in system._found:
        elements = [system.element(row.on) for row in system.access]
        system._found["watched"] = {e.from_ if isinstance(e, Flow) else e.id for e in elements}
    found: set[str] = system._found["watched"]
    return found


def model_places(system: System, component: str) -> Places:
    """Where a copy of the component's model lies: the component, and the artifacts and registries that feed it."""
    upstream = system.around((component,), back=True, past_trainers=False)
    return system.group((component,)) | (upstream & kept(system))


def kept(system: System) -> Places:
    """The artifacts and registries of a system, where models are kept."""
    if "kept" not in system._found:
        stores = [c.id for c in system.components if c.kind in ("model_artifact", "registry")]
        system._found["kept"] = system.group(stores)
    found: Places = system._found["kept"]
    return found


def documented(system: System, component: str) -> Truth:
    """Whether an outsider can read how the component is trained."""
    key = ("documented", component)
    if key not in system._found:
        answer = NO
        for teacher in trainers(system, component):
            training = system.component(teacher).training
            answer |= training.documented if training else UNKNOWN
        system._found[key] = answer if trainers(system, component) else UNKNOWN
    found: Truth = system._found[key]
    return found


def influence(system: System, principal: str, component: str) -> float | None:
    """The share of the training set the principal can write, or None where its size or the budget is unknown."""
    if can_contribute(system, principal, component).truth is not YES:
        return 0.0
    places = training_inputs(system, component)
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
