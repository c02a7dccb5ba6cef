"""One decision over all controls, the same in the middleware and in a replay of its log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.control import Service
from ..core.errors import CasemateError, UsageError

Mode = Literal["off", "shadow", "enforce"]
States = tuple[Any, ...]
_MODES = ("off", "shadow", "enforce")
_LOOKS = 64  # how far ahead `retry_after` looks, in waits


class Fault(CasemateError):
    """A control broke its contract or raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A control as a guard hosts it.

    Args:
        control: A service control, the very object that was assessed.
        mode: ``off``; ``shadow`` only reports what it would have done; ``enforce``.
        threats: Ids of threats for its events; left out, those the control declares.
    """

    control: Service
    mode: Mode = "enforce"
    threats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise UsageError(f"mode={self.mode!r} is not allowed; give {', '.join(_MODES)}")
        info = getattr(self.control, "info", None)
        if info is None or info.kind != "service":
            name = info.id if info else type(self.control).__name__
            raise UsageError(f"{name} is not a service control; a guard hosts only controls with admit and answer")
        if not self.threats:
            object.__setattr__(self, "threats", info.threats)

    @property
    def id(self) -> str:
        return self.control.info.id

    @property
    def edits(self) -> bool:
        """Whether answers must be read for it. A control that says nothing is taken to edit."""
        return bool(getattr(self.control, "edits", True))


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request.

    Args:
        states: The states to go on with. A refused request leaves them as they were: refusals are free.
        refused: The control that refused, or None.
        shadow: Controls that would have refused, had they been enforced.
    """

    states: States
    refused: Hosted | None = None
    shadow: tuple[Hosted, ...] = ()


def start(hosted: Sequence[Hosted]) -> States:
    """The empty states."""
    return tuple(h.control.start for h in hosted)


def decide(hosted: Sequence[Hosted], states: States, account: str, rows: int, now: float) -> Decision:
    """Let a request in whole or not at all. Pure: nothing is consumed until the caller keeps `states`."""
    onward = list(states)
    shadow: list[Hosted] = []
    for i, h in enumerate(hosted):
        if h.mode == "off":
            continue
        state, inside = _admit(h, states[i], account, rows, now)
        if inside == rows:
            onward[i] = state
        elif h.mode == "enforce":
            return Decision(states, h, tuple(shadow))
        else:
            shadow.append(h)
    return Decision(tuple(onward), None, tuple(shadow))


def _admit(h: Hosted, state: Any, account: str, rows: int, now: float) -> tuple[Any, int]:
    state, mask = h.control.admit(state, account, range(rows), now)
    if len(mask) != rows:
        raise Fault(f"{h.id} was asked about {rows} rows and spoke of {len(mask)}")
    return state, int(np.count_nonzero(mask))


def fits(h: Hosted, account: str, rows: int, now: float) -> bool:
    """Whether so many rows could ever be let in at once: whether they are on an empty state."""
    return _admit(h, h.control.start, account, rows, now)[1] == rows


def retry_after(h: Hosted, state: Any, account: str, rows: int, now: float) -> float:
    """Seconds until the whole request would be let in, if nothing else comes in between.

    Found by playing the future through the control's own pure steps, so it is right for any control that keeps its
    contract.
    """
    at, left = now, rows
    for _ in range(_LOOKS):
        state, inside = _admit(h, state, account, left, at)
        left -= inside
        if not left:
            break
        pause = h.control.wait(state, account, at)
        if not 0 < pause < math.inf:
            break
        at += pause
    return at - now
