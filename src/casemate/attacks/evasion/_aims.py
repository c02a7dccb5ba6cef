"""A goal as inequalities on the outputs of trees: what a search over leaves has to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput
from ...core.goal import Becomes, Routed, Shift, Vanish, Wrong
from ...core.trees import Ensemble, Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Aim:
    """Reached where ``weight @ raw - offset`` is positive: in every row, or in any.

    Args:
        weight: ``(r, k)``.
        offset: ``(r,)``.
        every: All r rows must be positive; otherwise one is enough.
        tie: Rows where zero is enough, ``(r,)`` booleans.
        noise: Margins nearer to zero than this are decided by the library's rounding.
    """

    weight: Floats
    offset: Floats
    every: bool
    tie: NDArray[np.bool_]
    noise: float

    def met(self, margin: Floats) -> NDArray[np.bool_]:
        """Where margins ``(..., r)`` reach the aim: ``(...)``."""
        enough = margin > np.where(self.tie, -self.noise, self.noise)
        return np.asarray(enough.all(-1) if self.every else enough.any(-1))

    def possible(self, margin: Floats) -> NDArray[np.bool_]:
        """Where margins ``(..., r)`` that are known up to rounding may reach the aim: what proofs ask."""
        enough = margin >= -self.noise
        return np.asarray(enough.all(-1) if self.every else enough.any(-1))

    def score(self, margin: Floats) -> Floats:
        """How near margins ``(..., r)`` are, ``(...)``."""
        return np.asarray(margin.min(-1) if self.every else margin.max(-1))


def aims_of(goal: Any, y: Any, ensemble: Ensemble) -> list[Aim]:
    """The aims of which one must be reached, for a row whose truth (or number before) is `y`.

    Raises:
        BadInput: The goal says nothing that can be read off the outputs of these trees.
    """
    if isinstance(goal, Shift):
        return [_shift(goal, float(y), ensemble)]
    classes = ensemble.classes
    if not classes:
        raise BadInput(f"{goal!r} is about classes and these trees give a number; use Shift(delta)")
    own = int(y)
    if not 0 <= own < classes:
        raise BadInput(f"y={own} is not one of the {classes} classes of the trees; give 0 to {classes - 1}")
    if isinstance(goal, Becomes | Vanish):
        to = goal.target if isinstance(goal, Becomes) else goal.nothing
        return [_becomes(to, ensemble)]
    if isinstance(goal, Routed) and goal.to:
        return [_becomes(route, ensemble) for route in goal.to if route != own]
    if isinstance(goal, Wrong | Routed):
        others = np.delete(np.arange(classes), own)
        # Of equal classes the first wins (or, of two, the second): then a tie is as good as a lead.
        tie = np.full(classes - 1, own == 0) if ensemble.ties_up else others < own
        return [_aim(np.eye(classes)[others] - np.eye(classes)[own], np.zeros(classes - 1), False, tie, ensemble)]
    raise BadInput(f"goal={goal!r} is not known for trees; use Wrong, Becomes, Routed, Vanish or Shift")


def _becomes(to: int, ensemble: Ensemble) -> Aim:
    classes = ensemble.classes
    if not 0 <= to < classes:
        raise BadInput(f"class {to} of the goal is not one of the {classes} classes of the trees; give 0 to {classes - 1}")
    others = np.delete(np.arange(classes), to)
    tie = np.full(classes - 1, to == 1) if ensemble.ties_up else to < others
    return _aim(np.eye(classes)[to] - np.eye(classes)[others], np.zeros(classes - 1), True, tie, ensemble)


def _shift(goal: Shift, y: float, ensemble: Ensemble) -> Aim:
    if ensemble.classes:
        raise BadInput(f"{goal!r} is about a number and these trees decide {ensemble.classes} classes; use Wrong or Becomes")
    sign = 1.0 if goal.delta >= 0 else -1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = y + goal.delta if ensemble.link == "identity" else float(np.log(max(y + goal.delta, 0.0)))
    # What is asked below zero of an answer that is always positive is out of reach: no sum of leaves is minus infinity.
    return _aim(np.array([[sign]]), np.array([sign * needed]), True, np.array([True]), ensemble)


def _aim(weight: Floats, offset: Floats, every: bool, tie: NDArray[Any], ensemble: Ensemble) -> Aim:
    ulp = np.finfo(np.float32 if ensemble.single else np.float64).eps
    value = np.abs(ensemble.value[ensemble.leaf]).max() / ensemble.divisor
    size = len(ensemble) * value + np.abs(ensemble.base).max() + float(np.abs(offset[np.isfinite(offset)]).max(initial=0.0))
    noise = float(ulp * size * (2 + len(ensemble) ** 0.5))
    return Aim(weight=weight, offset=offset, every=every, tie=np.asarray(tie, bool), noise=noise)
