"""How a control (a mitigation) is written and found.

One object, three uses:
  1. `changes`: the facts of the description it changes, as (path on the component, value);
  2. what it does to the thing under test: `harden_target(target)` (inference), `harden_recipe(recipe)` (training; what a
     recipe must offer for it says `fits(recipe)`: a reason, or an empty string where it does), or, for a service control,
     the two steps below, hosted by the Oracle in assessment and by the guard in production:
        start                                                the empty state
        admit(state, account, rows, now) -> state, mask      which of these rows are let in; counts rows, not requests
                                                             (`rows` is anything with a length; most controls need no more)
        answer(state, response) -> response                  what of the answer is shown
        wait(state, account, now) -> seconds                 how long until this account is let in again
  3. `knows`: the attacks that know it. Without one it can only ever be `claimed`.
State is a value: a step returns a new one and keeps nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, dataclass_transform

from .registry import Registry
from .target import Response

Kind = Literal["service", "inference", "training", "pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlInfo:
    """What is known of a control without running it."""

    id: str
    kind: Kind
    summary: str
    changes: tuple[tuple[str, str], ...]
    knows: tuple[str, ...]
    threats: tuple[str, ...]
    side_effects: str = ""
    trains: bool = False


class Service(Protocol):
    """The two steps of a service control (and the wait that a patient attacker needs to know)."""

    info: ControlInfo

    @property
    def start(self) -> Any: ...
    def admit(self, state: Any, account: str, rows: Sized, now: float) -> tuple[Any, Any]: ...
    def answer(self, state: Any, response: Response) -> Response: ...
    def wait(self, state: Any, account: str, now: float) -> float: ...


controls: Registry[type[Any]] = Registry("control", "casemate.controls")

T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def control(
    id: str,
    *,
    changes: tuple[tuple[str, str], ...] = (),
    knows: tuple[str, ...] = (),
    threats: tuple[str, ...] = (),
    side_effects: str = "",
    trains: bool = False,
) -> Callable[[T], T]:
    """Register a control under ``kind.name`` and make it a frozen dataclass.

    Args:
        id: ``service.*``, ``inference.*``, ``training.*`` or ``pipeline.*``.
        changes: Facts it changes, as (path below the component, value).
        knows: Ids of the attacks that know it and try to get around it.
        threats: Ids of the threats it is meant for.
        side_effects: What it costs, in a sentence.
        trains: Whether hardening trains a model (opt-in).
    """

    def register(cls: T) -> T:
        frozen: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        kind: Any = id.split(".")[0]
        frozen.info = ControlInfo(
            id=id, kind=kind, summary=summary, changes=changes, knows=knows, threats=threats,
            side_effects=side_effects, trains=trains,
        )  # fmt: skip
        controls.add(id, frozen)
        return frozen  # type: ignore[no-any-return]

    return register
