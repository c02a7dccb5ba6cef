"""Constraints of the user's own (`core.constraint.Region`), told in the words that attacks inside a `Ball` know.

An attack that moves by steps and projections asks a constraint for a radius, for the norm in which a step is steepest, and
for a projection: `Own` answers all three, so that one code serves both. A `Ball` itself goes through untouched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.attack import attacks
from ...core.case import Evade
from ...core.constraint import Ball, Region
from ...core.errors import BadInput, CasemateError
from ...core.random import Draw, RowRandom
from ...core.target import take, to_numpy
from ._losses import steepest

LENGTHS = (1, 2, 4, 8, 16) + (32,) * 8  # of steps to the furthest point, in radii
STILL = 1e-3  # of the radius: a step that moves no value further is the last


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Own:
    """A region as attacks see it, held to what it promises.

    Args:
        within: The user's constraint.
        case: What it is the constraint of.
        norm: In which a step is steepest: ``l2`` where steps follow the slope, ``linf`` where they follow its signs.
        radius: Of the region, finite, above 0.
        low, high: The domain, or infinite where the region does not say.
    """

    within: Region
    case: Evade
    norm: Literal["l2", "linf"]
    radius: float
    low: float
    high: float

    def __repr__(self) -> str:
        return repr(self.within)

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        """As the user's own, of rows in the inputs' shape.

        Raises:
            BadInput: It raised, or did not give one yes or no for each row; so of the others.
        """
        shape = np.shape(self.case.x)
        claim, origin = (np.reshape(x, (-1, *shape[1:])) for x in (claim, origin))
        return self._column("check", claim, origin, bool)

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        size = self._column("measure", claim, origin, np.float64)
        if np.isnan(size).any():
            raise BadInput(f"{self!r}.measure gave NaN; give the size of each row's change, a number from 0")
        return size

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """`x` projected, in its own precision; it may be written to.

        Raises:
            BadInput: What came back is of another shape, or outside: else every claim would be for nothing.
        """
        found = self._said("project", x, origin.clone())  # a copy: it may write to it, and the real one is what all is held to
        try:
            moved = torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError):
            raise BadInput(f"{self!r}.project gave a {type(found).__name__}; give a tensor, one point for each row") from None
        if moved.shape != x.shape:
            raise BadInput(f"{self!r}.project gave shape {tuple(moved.shape)} for {tuple(x.shape)}; give one point for each row")
        moved = moved.to(x).clone()  # it may have handed back the very origin
        outside = np.flatnonzero(~self.check(moved.cpu().numpy(), origin.cpu().numpy()))
        if len(outside):
            raise BadInput(
                f"{self!r}.project led row {self._row(origin[outside[0]])} to where its own check says no; "
                f"project must land inside, with room for rounding in {moved.dtype}, and each input must be allowed itself"
            )
        return moved

    def tried(self) -> None:
        """Each method called once on the first inputs, so that what it gives wrongly is said before anything is spent."""
        x = torch.as_tensor(take(self.case.x, np.arange(min(2, len(self.case)))))
        origin = to_numpy(x)
        self.check(origin, origin)
        self.measure(origin, origin)
        if x.is_floating_point() and len(x):
            self.measure(to_numpy(self.project(x + self.radius, x)), origin)

    def _said(self, method: str, x: Any, origin: Any) -> Any:
        """What the user's method gives; what it raises becomes one message that names it."""
        try:
            return getattr(self.within, method)(x, origin)
        except (CasemateError, MemoryError):
            raise
        except Exception as error:
            raise BadInput(f"{self!r}.{method} failed on {len(x)} rows: {type(error).__name__}: {error}") from error

    def _column(self, method: str, claim: Any, origin: Any, kind: type[Any]) -> NDArray[Any]:
        """One value of `kind` for each row, ``(n,)``."""
        found = self._said(method, claim, origin)
        try:
            column = np.asarray(to_numpy(found), kind)
        except (TypeError, ValueError):
            raise BadInput(f"{self!r}.{method} gave a {type(found).__name__}; give one value for each row") from None
        if column.shape != (len(claim),):
            what = "None" if found is None else f"shape {column.shape}"
            raise BadInput(f"{self!r}.{method} gave {what} for {len(claim)} rows; give one value for each")
        return column

    def _row(self, origin: Tensor) -> int:
        """The id of the row that begins there."""
        begins = np.asarray(to_numpy(self.case.x)) == origin.cpu().numpy()
        return int(self.case.row[begins.reshape(len(begins), -1).all(1).argmax()])

    def sample(self, origin: Any, rng: RowRandom, rows: Any, draw: Draw) -> NDArray[np.float64]:
        """A random point about a radius away from each origin, projected; float64. It is not uniform in the region."""
        start = np.asarray(origin, np.float64)
        way = 2 * rng.uniform(rows, draw, start.shape[1:]) - 1
        if self.norm == "l2":
            length = np.linalg.norm(way.reshape(len(way), -1), axis=1)
            way /= np.maximum(length, 1e-30).reshape(-1, *([1] * (way.ndim - 1)))
        return np.asarray(self.project(torch.as_tensor(start + self.radius * way), torch.as_tensor(start)))

    def furthest(self, slope: Tensor, origin: Tensor) -> Tensor:
        """Where ever longer projected steps along `slope` end up: in a convex region, where a linear loss is largest."""
        x, step = origin, self.radius * steepest(slope, self.norm)
        going = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for length in LENGTHS:  # each row ends by itself, so that none hangs on the others
            moved = self.project(x + length * step, origin)
            far = (moved - x).flatten(1).abs().amax(1) > STILL * self.radius
            x = torch.where(going.reshape(-1, *([1] * (x.ndim - 1))), moved, x)
            going = going & far
            if not bool(going.any()):
                break
        return x


Room = Ball | Own
STAND_IN = "the stand-in is trained on the whole domain of a Ball, which your own constraint does not tell"


def moved_in(case: Evade, name: str, norms: tuple[str, ...]) -> Evade:
    """The case as `name` can move in it: a Ball of one of `norms` as it is, a constraint of the user's own as an `Own`.

    Raises:
        BadInput: It is neither, or does not say what a region must.
    """
    within: Any = case.within
    if isinstance(within, Own) or (isinstance(within, Ball) and within.norm in norms):
        return case
    if isinstance(within, Ball) or not hasattr(within, "project") or not hasattr(within, "radius"):
        raise refused(name, f"moves inside {_balls(norms)}", within, "it needs project and radius of any other constraint")
    radius, along = within.radius, getattr(within, "along", "slope")
    if not isinstance(radius, int | float | np.number) or not 0 < radius < math.inf or along not in ("slope", "signs"):
        raise BadInput(
            f"{name} steps by shares of a constraint's radius, along the slope or its signs; got radius={radius!r}, "
            f"along={along!r}; give a finite number above 0, and 'slope' or 'signs'"
        )
    low, high = (_number(getattr(within, end, None), least) for end, least in (("low", -math.inf), ("high", math.inf)))
    own = Own(within, case, "linf" if along == "signs" else "l2", float(radius), low, high)
    own.tried()
    return replace(case, within=own)


def room(case: Evade) -> Room:
    """Where a case that was `moved_in` is moved in."""
    within = case.within
    assert isinstance(within, Room)
    return within


def ball_of(case: Evade, name: str, norms: tuple[str, ...], why: str, does: str = "moves inside") -> Ball:
    """The ball of a case, of one of `norms`; `why` says what keeps this attack from constraints of the user's own."""
    within = case.within
    if not isinstance(within, Ball) or within.norm not in norms:
        raise refused(name, f"{does} {_balls(norms)}", within, why)
    return within


def refused(name: str, does: str, within: Any, why: str) -> BadInput:
    """The refusal of a constraint by an attack: what it does, what it got, why, and which attacks can do with that."""
    if isinstance(within, Ball):
        return BadInput(f"{name} {does}; got {within!r}")
    infos = [attacks.get(id).info for id in attacks if id != name]
    kind = type(within).__name__
    known = [info.id for info in infos if kind in info.within]
    which = f"a {kind} works" if known else "constraints of your own that project and have a radius work"
    able = ", ".join(known or [info.id for info in infos if "Region" in info.within])
    return BadInput(f"{name} {does}; got {within!r}: {why}; {which} with {able}")


def _balls(norms: tuple[str, ...]) -> str:
    return f"a Ball of {', '.join(norms[:-1])}{' or ' if norms[1:] else ''}{norms[-1]}"


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float | np.number) else otherwise
