"""What a change may be: constraints as values.

`check` is in float64 and strict; `measure` is the size of a change; `project` and `sample` exist where they make sense.
`project` works on numpy arrays and torch tensors alike, and lands strictly inside, so that rounding to the input's own
precision never puts a claim outside in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .random import Draw, RowRandom

Array = Any
Norm = Literal["linf", "l2", "l1"]


class Constraint(Protocol):
    """What every constraint can do."""

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        """Which rows of `claim` are allowed changes of `origin`, ``(n,)``."""
        ...

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        """The size of each row's change, ``(n,)``."""
        ...


def _flat(x: Any) -> NDArray[np.float64]:
    array = np.asarray(x, dtype=np.float64)
    return array.reshape(len(array), -1)


@dataclass(frozen=True, slots=True)
class Ball:
    """All inputs within `radius` of the original, inside the box ``[low, high]``.

    Args:
        norm: ``linf``, ``l2`` or ``l1`` over the flattened row.
        radius: In the target's own input units; at least 0. ``inf`` leaves only the box.
        low, high: The domain of every value.
    """

    norm: Norm
    radius: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2", "l1"):
            raise BadInput(f"norm={self.norm!r} is not a norm known here; allowed: 'linf', 'l2', 'l1'")
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
        size = math.prod(x.shape[1:]) or 1
        # Scaling to a length rounds several times, clipping once.
        grown = {"linf": 1.0, "l2": 4 * math.sqrt(size), "l1": 4.0 * size}[self.norm]
        return max(0.0, self.radius - 2.0 ** -_bits(x) * grown * max(abs(self.low), abs(self.high), self.radius))

    def _bounds(self, bits: int) -> tuple[float, float]:
        """The outermost numbers of that many bits in the domain. Not a step further inwards: an origin may stand on them,
        and may not be moved by more than the radius."""
        return -_rounded_down(-self.low, bits), _rounded_down(self.high, bits)

    def project(self, x: Array, origin: Array) -> Array:
        """The nearest allowed input for ``linf``; a near one for ``l2`` and ``l1`` (scaled, then boxed).

        Args:
            x: Changed inputs ``(n, *shape)``, numpy or torch; they come back in the same library and precision.
            origin: The unchanged inputs ``(n, *shape)``, of the same library.

        What comes back passes `check`, in float64 too.
        """
        # The coarser of the two: a float64 model differentiates float32 inputs in float64, and the claim is float32 again.
        radius = min(self.inside(x), self.inside(origin))
        if not radius:  # less room than one rounding: only the input itself is surely inside
            return x.clip(origin, origin)
        low, high = self._bounds(min(_bits(x), _bits(origin)))
        if self.norm == "linf":
            return x.clip(origin - radius, origin + radius).clip(low, high)
        change = (x - origin).reshape(len(x), -1)
        size = (change * change).sum(1) ** 0.5 if self.norm == "l2" else abs(change).sum(1)
        scale = (radius / size.clip(1e-30, None)).clip(None, 1.0).reshape(-1, *([1] * (x.ndim - 1)))
        # The origin is in the box, so clipping only moves coordinates towards it: the norm cannot grow again. (Or it was
        # rounded to the next number outside: then by one step at most, for which `inside` left room.)
        return (origin + (x - origin) * scale).clip(low, high)

    def sample(self, origin: Any, rng: RowRandom, rows: Any, draw: Draw) -> NDArray[np.float64]:
        """A uniform point of the ball around each origin (then boxed), float64."""
        start = np.asarray(origin, dtype=np.float64)
        radius = self.radius
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

    def unbounded(self) -> Ball:
        """The same domain with no radius: what health check 14 attacks."""
        return Ball(self.norm, math.inf, self.low, self.high)


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


Edit = Callable[[bytes, bytes, np.random.Generator], bytes]


@dataclass(frozen=True, slots=True)
class Bytes:
    """Byte strings that still work: every change must pass the format's own parser.

    Args:
        valid: ``valid(changed, original) -> bool``; really parses. It runs at the attacker's cost and again by the judge.
        edit: ``edit(current, original, generator) -> changed``: one random change the attacker knows how to make.
        grow: Most bytes that may be added.
    """

    valid: Callable[[bytes, bytes], bool]
    edit: Edit
    grow: int = 4096

    def check(self, claim: Sequence[bytes], origin: Sequence[bytes]) -> NDArray[np.bool_]:
        return np.array([len(c) <= len(o) + self.grow and bool(self.valid(c, o)) for c, o in zip(claim, origin, strict=True)])

    def measure(self, claim: Sequence[bytes], origin: Sequence[bytes]) -> NDArray[np.float64]:
        """Bytes added (or removed), a cheap lower bound on the edit distance."""
        return np.array([float(_changed(c, o)) for c, o in zip(claim, origin, strict=True)])

    def propose(self, row: bytes, origin: bytes, rng: np.random.Generator) -> bytes:
        """One random edit of `row`, not yet checked."""
        return self.edit(row, origin, rng)


def _changed(claim: bytes, origin: bytes) -> int:
    """Bytes outside the common prefix and suffix."""
    short = min(len(claim), len(origin))
    prefix = _alike(claim[:short], origin[:short])
    rest = short - prefix
    suffix = _alike(claim[len(claim) - rest :][::-1], origin[len(origin) - rest :][::-1])
    return max(len(claim), len(origin)) - prefix - suffix


def _alike(a: bytes, b: bytes) -> int:
    """How many bytes two strings of one length share from the start."""
    differ = np.flatnonzero(np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8))
    return int(differ[0]) if len(differ) else len(a)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Args:
        kind: ``real``, ``int`` or ``category``.
        low, high: Bounds of a number.
        values: The categories that exist.
        immutable: Nobody can change it (age, say).
        direction: ``+1`` it can only grow, ``-1`` only shrink, ``0`` both.
        cost: Price of a change: per unit of ``(high - low)`` for numbers, per change for categories.
        personal: Redacted in reports.
    """

    kind: Literal["real", "int", "category"]
    low: float = -math.inf
    high: float = math.inf
    values: tuple[Any, ...] = ()
    immutable: bool = False
    direction: Literal[-1, 0, 1] = 0
    cost: float = 1.0
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a data frame, changed only as the world allows.

    Args:
        columns: One `Column` for each column that may occur; a column not named is immutable.
        budget: Most total cost of a row's changes.
        relations: Named checks ``(frame) -> (n,) booleans`` over the changed frame.
    """

    columns: Mapping[str, Column]
    budget: float = math.inf
    relations: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        if list(claim.columns) != list(origin.columns):
            return np.zeros(len(origin), bool)
        ok = self.measure(claim, origin) <= self.budget * (1 + 1e-9)
        for name in origin.columns:
            ok &= self._column_ok(name, claim[name], origin[name])
        for relation in self.relations.values():
            ok &= np.asarray(relation(claim), dtype=bool)
        return np.asarray(ok)

    def _column_ok(self, name: str, claim: Any, origin: Any) -> NDArray[np.bool_]:
        column = self.columns.get(name, Column(kind="category", immutable=True))
        new, old, same = claim.to_numpy(), origin.to_numpy(), _same(claim, origin)
        if column.immutable:
            return np.asarray(same)
        if column.kind == "category":
            return np.asarray(same | np.isin(new, np.array(column.values, dtype=object)))
        value, start = new.astype(np.float64), old.astype(np.float64)
        ok = np.isfinite(value) & (value >= column.low) & (value <= column.high)
        ok &= column.direction * (value - start) >= 0 if column.direction else True
        if column.kind == "int":
            ok &= value == np.round(value)
        return np.asarray(ok | same)

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        total = np.zeros(len(origin))
        for name in origin.columns:
            column, same = self.columns.get(name), _same(claim[name], origin[name])
            if column is None or column.kind == "category":
                total += ~same * (column.cost if column else 1.0)
            else:
                new, old = claim[name].to_numpy(np.float64), origin[name].to_numpy(np.float64)
                span = column.high - column.low if math.isfinite(column.high - column.low) else 1.0
                total += np.where(same, 0.0, np.abs(new - old) / span * column.cost)
        return total

    def propose(self, row: Any, origin: Any, rng: np.random.Generator) -> Any:
        """One random change of one changeable column of a one-row frame, within its bounds and direction."""
        free = [n for n in origin.columns if n in self.columns and not self.columns[n].immutable]
        if not free:
            return row
        name = free[int(rng.integers(len(free)))]
        column, row = self.columns[name], row.copy()
        row[name] = [self._draw(column, origin[name].iloc[0], rng)]
        if column.kind == "int":
            row[name] = row[name].astype(origin[name].dtype)
        return row

    @staticmethod
    def _draw(column: Column, old: Any, rng: np.random.Generator) -> Any:
        if column.kind == "category":
            return column.values[int(rng.integers(len(column.values)))]
        start = float(old)
        reach = max(1.0, abs(start))  # where a column has no bound, as far again as the value itself
        low = column.low if math.isfinite(column.low) else start - reach
        high = column.high if math.isfinite(column.high) else start + reach
        low, high = (start if column.direction > 0 else low), (start if column.direction < 0 else high)
        value = float(rng.uniform(low, high)) if high > low else start
        return round(value) if column.kind == "int" and math.isfinite(value) else value


def _same(new: Any, old: Any) -> NDArray[np.bool_]:
    """Which cells of a column were left alone; a missing value that stays missing was."""
    return np.asarray((new.to_numpy() == old.to_numpy()) | (new.isna().to_numpy() & old.isna().to_numpy()), bool)
