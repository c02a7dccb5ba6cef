"""How an attack is written and found.

An attack is a frozen dataclass with `__call__(oracle, case, *, rng)`, a generator of ever better claims. Its parameters
are its fields, so repr, hash, help and evidence ids are free. There is no base class: the contract in
`casemate.testing` is what every attack must pass.

    scope="rows"      many rows at once, in one record of row tensors; the driver sends survivors back
    scope="dialogue"  one row; asks questions (`Ask`) and makes claims (`Claim`); the driver packs the questions of all
                      rows into full model calls
    scope="set"       sees the whole set; its yields are progress
    scope="cascade"   other attacks in order, each on the rows that still stand: `stages(oracle, case)` names them
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, dataclass_transform

from .adversary import Need
from .constraint import Norm
from .errors import BadInput, UsageError
from .registry import Registry
from .shape import fits

Scope = Literal["rows", "dialogue", "set", "cascade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackInfo:
    """What is known of an attack without running it."""

    id: str
    needs: Need
    scope: Scope
    case: str  # the kind of case it takes: evade, poison, infer, copy, stall, smuggle
    summary: str
    papers: tuple[str, ...] = ()
    aka: tuple[str, ...] = ()
    spends: str = ""
    modality: tuple[str, ...] = ("array",)  # array, table, bytes, text: what it can change
    norms: tuple[Norm, ...] = ("linf", "l2")  # of an attack that moves inside a Ball: the norms it knows
    within: tuple[str, ...] = ("Ball",)  # of an attack on arrays: the constraints it knows, by class name
    baseline: bool = False  # noise, prior guess: what the others are compared with
    static_cost: Callable[[Any], int] | None = None  # model rows per attacked row, from the parameters alone


class Attack(Protocol):
    """What every attack looks like from outside."""

    info: AttackInfo

    def __call__(self, oracle: Any, case: Any, *, rng: Any) -> Generator[Any, Any, Any]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of a dialogue: ``k`` inputs ``(k, *shape)`` (or a list of k) for the endpoint to decide.

    `note`, once a step, is how far the nearest point that meets the goal lies by now, inside the constraint or not. It is
    no claim: it tells whether the attack was still getting nearer when it ended (health check 11).
    """

    x: Any
    account: int | None = None
    note: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The best input so far of a dialogue, and whether the goal is met there."""

    x: Any
    broken: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to an `Ask`: labels ``(k,)``, scores ``(k, c)`` where granted, met ``(k,)``, and queries left to this row."""

    label: Any
    scores: Any
    met: Any
    left: float


attacks: Registry[type[Any]] = Registry("attack", "casemate.attacks")

T = TypeVar("T", bound=type)
_FAMILY_CASE = {
    "evasion": "evade",
    "poisoning": "poison",
    "privacy": "infer",
    "extraction": "copy",
    "availability": "stall",
    "supply": "smuggle",
}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def attack(
    id: str,
    *,
    needs: Need,
    scope: Scope = "rows",
    papers: tuple[str, ...] = (),
    aka: tuple[str, ...] = (),
    spends: str = "",
    modality: tuple[str, ...] = ("array",),
    norms: tuple[Norm, ...] = ("linf", "l2"),
    within: tuple[str, ...] = ("Ball",),
    baseline: bool = False,
    case: str | None = None,
    static_cost: Callable[[Any], int] | None = None,
) -> Callable[[T], T]:
    """Register an attack under ``family.method`` and make it a frozen dataclass.

    Args:
        id: ``family.method``, lower case, stable for ever.
        needs: Everything the adversary must hold.
        scope: ``rows``, ``dialogue``, ``set`` or ``cascade``.
        papers: arXiv ids or DOIs; they are printed in reports.
        aka: Names in the literature, for search.
        spends: What a row costs, as a formula.
        norms: Of an attack that moves inside a `Ball`, the norms it knows; where another is asked it is not run.
        within: Of an attack on arrays, the constraints it knows, by class name; an assessment gives it the first that fits.
        static_cost: Model rows per attacked row from the parameters alone, for plans.
    """

    def register(cls: T) -> T:
        _counted(cls, id, needs)
        frozen: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        family = id.split(".")[0]
        if case is None and family not in _FAMILY_CASE:
            raise UsageError(f"attack {id!r}: family {family!r} has no case of its own; give case=")
        summary = (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""
        frozen.info = AttackInfo(
            id=id, needs=needs, scope=scope, case=case or _FAMILY_CASE[family], summary=summary, papers=papers,
            aka=aka, spends=spends, modality=modality, norms=norms, within=within, baseline=baseline, static_cost=static_cost,
        )  # fmt: skip
        attacks.add(id, frozen, aka)
        return frozen  # type: ignore[no-any-return]

    return register


COUNTS = ("restarts", "draws", "samples")


def _counted(cls: Any, id: str, needs: Need) -> None:
    """Let the class refuse counts below 1 when it is made: an attack that does nothing would say that the rows resisted.

    `steps` counts so where slopes are climbed; of a search by questions, no steps leave the first one.
    """
    own: Callable[[Any], None] | None = getattr(cls, "__post_init__", None)
    names = COUNTS + (("steps",) if Need.GRADIENT in needs else ())

    def checked(self: Any) -> None:
        for name in names:
            value = getattr(self, name, 1)
            if isinstance(value, int | float) and not value >= 1:
                raise BadInput(f"{id}: {name}={value!r} is not allowed; give 1 or more")
        if own is not None:
            own(self)

    cls.__post_init__ = checked


def unfitting(kind: type, values: Mapping[str, Any]) -> str:
    """What is wrong with the types of parameters, by the annotations of the dataclass; empty where nothing is."""
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # noqa: BLE001  a plugin may annotate with names that exist for its type checker only
        hints = {}
    wrong = []
    for name, value in values.items():
        default = kind.__dataclass_fields__[name].default  # type: ignore[attr-defined]
        hint = hints.get(name, type(default))
        if not _fits(value, hint):
            wanted = getattr(hint, "__name__", None) if typing.get_origin(hint) is None else str(hint)
            given = "" if default is dataclasses.MISSING else f", as {default!r} is"
            wrong.append(f"{name}={value!r} does not fit; give {str(wanted).replace('typing.', '')}{given}")
    return "; ".join(wrong)


def _fits(value: Any, hint: Any) -> bool:
    try:
        return fits(tuple(value) if isinstance(value, list) else value, hint)
    except TypeError:  # nothing that can be checked, as Any or a protocol
        return True


def parameters(attack: Any) -> dict[str, Any]:
    """The parameters of an attack (or control) by name, in order."""
    return {f.name: getattr(attack, f.name) for f in dataclasses.fields(attack)}


Claims = Iterator[Any]
