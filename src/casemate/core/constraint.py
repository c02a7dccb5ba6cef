"""What a change may be: constraints as values.

`check` is in float64 and strict; `measure` is the size of a change; `project` and `sample` exist where they make sense.
`project` works on numpy arrays and torch tensors alike, and lands strictly inside, so that rounding to the input's own
precision never puts a claim outside in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .random import Draw, RowRandom

Array = Any
Norm = Literal["linf", "l2", "l1", "l0"]
NORMS: tuple[Norm, ...] = get_args(Norm)


class Constraint(Protocol):
    """What every constraint can do."""

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        """Which rows of `claim` are allowed changes of `origin`, ``(n,)``."""
        ...

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        """The size of each row's change, ``(n,)``."""
        ...


class Region(Constraint, Protocol):
    """A constraint to move in, whatever its shape: what attacks ask of one that is no `Ball`.

    Attacks that step and project move in it; those that need a norm refuse it, and say why and which do not.

    It may also say:

    - `along`, ``slope`` or ``signs``: what a step follows, with a length of shares of `radius` as a whole, or at each value.
      Left out, it is the slope, which climbs inside any convex set; signs suit what limits each value alone.
    - `low` and `high`, numbers: the domain of every value, where attacks that see labels alone look for a way in.
    """

    @property
    def radius(self) -> float:
        """How far is far, in input units: steps and random starts are shares of it. Above 0, finite."""
        ...

    def project(self, x: Any, origin: Any) -> Any:
        """Changed inputs brought back to what is allowed, best the nearest: torch tensors ``(n, *shape)`` in and out.

        What comes back must pass `check`, so leave it room for rounding.
        """
        ...


def admits(kinds: tuple[str, ...], within: Any) -> bool:
    """Whether an attack that works within `kinds` works within that constraint, by its class or as a `Region` of one's own."""
    own = not isinstance(within, Ball) and hasattr(within, "project") and hasattr(within, "radius")
    return type(within).__name__ in kinds or (own and "Region" in kinds)


def _flat(x: Any) -> NDArray[np.float64]:
    array = np.asarray(x, dtype=np.float64)
    return array.reshape(len(array), -1)


@dataclass(frozen=True, slots=True)
class Ball:
    """All inputs within `radius` of the original, inside the box ``[low, high]``.

    Args:
        norm: ``linf``, ``l2`` or ``l1`` over the flattened row, or ``l0``: how many of its values differ at all.
        radius: In the target's own input units (for ``l0``, values); at least 0. ``inf`` leaves only the box.
        low, high: The domain of every value.
    """

    norm: Norm
    radius: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise BadInput(f"norm={self.norm!r} is not a norm known here; allowed: {', '.join(map(repr, NORMS))}")
        for name in ("radius", "low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise BadInput(f"{name}={value!r} is not a number; give it in input units")
        if not self.radius >= 0:
            raise BadInput(f"radius={self.radius!r} is not allowed; it must be at least 0, in input units")
        if not self.low < self.high:
            raise BadInput(f"low={self.low!r}, high={self.high!r}: the domain is empty; low must be below high")
        if not math.isfinite(self.high - self.low):  # steps, starts and rounding are all shares of it
            raise BadInput(f"low={self.low!r}, high={self.high!r}: the domain must be finite; give the range of your inputs")

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        change = np.abs(_flat(claim) - _flat(origin))
        if self.norm == "linf":
            return change.max(1) if change.shape[1] else np.zeros(len(change))
        if self.norm == "l0":
            return np.asarray((change > 0).sum(1), np.float64)
        return np.asarray(np.sqrt((change**2).sum(1)) if self.norm == "l2" else change.sum(1))

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        flat = _flat(claim)
        finite = np.isfinite(flat).all(1)
        # A value that was left alone is no change, even where the input's precision rounds it past a bound.
        boxed = (((flat >= self.low) & (flat <= self.high)) | (flat == _flat(origin))).all(1)
        # 1e-9 is room for the float64 arithmetic of this very line, and for nothing else.
        return np.asarray(finite & boxed & (self.measure(claim, origin) <= self.radius * (1 + 1e-9) + 1e-12))

    def inside(self, x: Array) -> float:
        """The radius to project on so that rounding to the dtype of `x` stays within `radius`.

        A little below `radius`: by one rounding for ``linf``, by several for the others; 0 where there is no room for one.
        """
        if math.isinf(self.radius):
            return self.radius
        if self.norm == "l0":  # values are counted, and no rounding changes how many there are
            return math.floor(self.radius)
        size = math.prod(x.shape[1:]) or 1
        # Scaling to a length rounds several times, clipping once.
        grown = {"linf": 1.0, "l2": 4 * math.sqrt(size), "l1": 4.0 * size}[self.norm]
        step = 2.0 ** -_bits(x) * grown
        far = max(abs(self.low), abs(self.high))
        if step * far > 1e-3 * self.radius and len(x):
            # A generous domain must not eat the radius up: what numbers of this size round by is what counts.
            finite = abs(x).clip(None, far).max()
            far = min(far, float(finite)) if finite == finite else far
        return max(0.0, self.radius - step * max(far, self.radius))

    def _coarser(self, x: Array, origin: Array) -> float:
        """`inside` for claims in a coarser precision than the inputs have."""
        return self.inside(x if math.isinf(self.radius) else x.clip(origin - self.radius, origin + self.radius))

    def _bounds(self, bits: int) -> tuple[float, float]:
        """The outermost numbers of that many bits in the domain. Not a step further inwards: an origin may stand on them,
        and may not be moved by more than the radius."""
        return -_rounded_down(-self.low, bits), _rounded_down(self.high, bits)

    def project(self, x: Array, origin: Array) -> Array:
        """The nearest allowed input for ``linf`` and ``l0``; a near one for ``l2`` and ``l1`` (scaled, then boxed).

        Args:
            x: Changed inputs ``(n, *shape)``, numpy or torch; they come back in the same library and precision.
            origin: The unchanged inputs ``(n, *shape)``, of the same library.

        What comes back passes `check`, in float64 too.
        """
        # The coarser of the two: a float64 model differentiates float32 inputs in float64, and the claim is float32 again.
        radius = self.inside(origin) if _bits(origin) <= _bits(x) else self._coarser(x, origin)
        if not radius:  # less room than one rounding: only the input itself is surely inside
            return x.clip(origin, origin)
        low, high = self._bounds(min(_bits(x), _bits(origin)))
        if self.norm == "linf":
            return x.clip(origin - radius, origin + radius).clip(low, high)
        change = (x - origin).reshape(len(x), -1)
        if self.norm == "l0":
            return _largest(x, origin, x.clip(low, high) - origin, radius).clip(low, high)
        size = (change * change).sum(1) ** 0.5 if self.norm == "l2" else abs(change).sum(1)
        scale = (radius / size.clip(1e-30, None)).clip(None, 1.0).reshape(-1, *([1] * (x.ndim - 1)))
        # The origin is in the box, so clipping only moves coordinates towards it: the norm cannot grow again. (Or it was
        # rounded to the next number outside: then by one step at most, for which `inside` left room.)
        return (origin + (x - origin) * scale).clip(low, high)

    def sample(self, origin: Any, rng: RowRandom, rows: Any, draw: Draw) -> NDArray[np.float64]:
        """A uniform point of the ball around each origin (then boxed), float64."""
        start = np.asarray(origin, dtype=np.float64)
        radius = self.radius
        if self.norm == "l0" and not math.isinf(radius):
            anywhere = self.low + (self.high - self.low) * rng.uniform(rows, draw, start.shape[1:])
            lot = rng.uniform(rows, _then(draw, 1), start.shape[1:]).reshape(len(start), -1)
            few = np.argsort(np.argsort(lot, axis=1), axis=1) < math.floor(radius)
            return np.where(few.reshape(start.shape), anywhere, start)
        if math.isinf(radius):
            return self.low + (self.high - self.low) * rng.uniform(rows, draw, start.shape[1:])
        if self.norm == "linf":
            step = (2 * rng.uniform(rows, draw, start.shape[1:]) - 1) * radius
        else:
            normal = rng.normal(rows, draw, start.shape[1:]).reshape(len(start), -1)
            size = math.prod(start.shape[1:])
            if self.norm == "l1":  # exponential magnitudes with random signs are uniform on the L1 sphere
                normal = np.sign(normal) * -np.log(rng.uniform(rows, _then(draw, 1), (size,)))
            length = np.linalg.norm(normal, ord=2 if self.norm == "l2" else 1, axis=1, keepdims=True)
            # U^(1/d), not U: a uniform radius would crowd the centre.
            reach = radius * rng.uniform(rows, _then(draw, 2), (1,)) ** (1.0 / size)
            step = (normal / length * reach).reshape(start.shape)
        return np.asarray(self.project(start + step, start))

    def box(self, x: Array) -> Array:
        """`x` with every value brought into the domain, in its own precision."""
        return x.clip(*self._bounds(_bits(x)))

    def unbounded(self) -> Ball:
        """The same domain with no radius: what health check 14 attacks."""
        return Ball(self.norm, math.inf, self.low, self.high)


def _largest(x: Array, origin: Array, change: Array, count: float) -> Array:
    """`x` where its change is among the `count` largest of its row, the origin elsewhere. Of equal ones the first win."""
    flat = abs(change).reshape(len(x), -1)
    if count >= flat.shape[1]:
        return x
    if hasattr(flat, "argsort") and hasattr(flat, "detach"):
        rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return x.where((rank < count).reshape(x.shape), origin)
    rank = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1)
    return np.where((rank < count).reshape(x.shape), x, origin)


def _bits(x: Array) -> int:
    """Bits after the first of a number in the dtype of `x`; whole numbers become float32 on the way."""
    name = str(x.dtype)
    return next((bits for kind, bits in (("float64", 52), ("bfloat16", 7), ("float16", 10)) if kind in name), 23)


def _rounded_down(value: float, bits: int) -> float:
    """The largest number with that many bits after the first that is not above `value`."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(math.floor(math.ldexp(fraction, bits + 1)), exponent - bits - 1)


def _then(draw: Draw, word: int) -> Draw:
    return (*draw, word) if isinstance(draw, tuple) else (draw, word)
