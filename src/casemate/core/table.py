"""Constraints on tables: types, bounds, prices and relations of columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .relation import Relation
from .target import to_numpy

Columns = dict[str, NDArray[Any]]


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

    @property
    def span(self) -> float:
        """What a change of a number is measured in: the width of its domain, or 1 where it has no end."""
        return self.high - self.low if math.isfinite(self.high - self.low) and self.high > self.low else 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a table, changed only as the world allows: a data frame, or an array ``(n, d)`` whose columns are named.

    Args:
        columns: One `Column` for each column that may occur; a column not named is immutable.
        budget: Most total cost of a row's changes.
        relations: What must hold among the columns of a changed row, by name: a text in the language of `core.relation`,
            or a check ``(frame) -> (n,) booleans``.
        names: Of an array: the names of its columns, in order.
        one_of: Groups of columns of which exactly one is 1 and the others are 0: a category that was encoded.
    """

    columns: Mapping[str, Column]
    budget: float = math.inf
    relations: Mapping[str, Callable[[Any], Any] | str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        made = {name: Relation(one) if isinstance(one, str) else one for name, one in self.relations.items()}
        object.__setattr__(self, "relations", made)
        if self.names:  # of a frame the columns are known when it is seen
            for relation in made.values():
                if isinstance(relation, Relation):
                    _known(relation, self.names)
        known = set(self.names) or set(self.columns)
        strange = [name for group in self.one_of for name in group if name not in known]
        strange += [name for name in self.columns if self.names and name not in known]
        if strange:
            raise BadInput(f"a Table names the column {strange[0]!r}, which is none of {sorted(known)[:20]}")

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        return self.allowed(self.open(claim), self.open(origin), claim)

    def allowed(self, new: Columns, old: Columns, like: Any) -> NDArray[np.bool_]:
        """Which changed rows the table allows, ``(n,)``, of columns that `open` gave; `like` says what they are columns of."""
        if list(new) != list(old):
            return np.zeros(_height(old), bool)
        ok = self.cost(new, old) <= self.budget * (1 + 1e-9)
        for name in old:
            ok &= self._column_ok(name, new[name], old[name])
        for group in self.one_of:
            values = np.stack([new[name].astype(np.float64) for name in group], 1)
            ok &= ((values == 0) | (values == 1)).all(1) & (values.sum(1) == 1)
        asked = None
        for relation in self.relations.values():
            if not isinstance(relation, Relation):
                asked = self.close(new, like) if asked is None else asked
            ok &= np.asarray(self._holds(relation, new, asked), dtype=bool)
        return np.asarray(ok)

    def _holds(self, relation: Any, columns: Columns, frame: Any) -> Any:
        if not isinstance(relation, Relation):
            return relation(frame)
        _known(relation, columns)
        return relation(columns)

    def open(self, x: Any) -> Columns:
        """The columns of a frame or an array ``(n, d)`` by name, as arrays ``(n,)``; missing values are NaN."""
        if hasattr(x, "iloc"):
            return {str(name): _plain(x[name]) for name in x.columns}
        array = np.asarray(to_numpy(x))
        if array.ndim != 2 or array.shape[1] != len(self.names):
            raise BadInput(f"a Table of {len(self.names)} names got an array of shape {array.shape}; give names= for each column")
        return {name: array[:, i] for i, name in enumerate(self.names)}

    def close(self, columns: Columns, like: Any) -> Any:
        """The inverse of `open`: a frame or an array of the kind that `like` is."""
        if not hasattr(like, "iloc"):
            array = np.asarray(to_numpy(like))
            kind = array.dtype if array.dtype.kind == "f" else np.float64
            return np.stack([columns[name].astype(kind) for name in self.names], 1)
        made = type(like)({name: columns[str(name)] for name in like.columns}, columns=like.columns)
        kinds = {}
        for name, dtype in like.dtypes.items():
            new = columns[str(name)]
            plain = isinstance(dtype, np.dtype) and dtype.kind in "iu"
            whole = plain and bool((new.astype(np.float64) == np.round(new.astype(np.float64))).all())
            if not isinstance(dtype, np.dtype) or dtype.kind == "f" or whole:
                kinds[name] = dtype
        made = made.astype(kinds)
        return made.set_axis(like.index) if len(like) == len(made) else made

    def _column_ok(self, name: str, new: NDArray[Any], old: NDArray[Any]) -> NDArray[np.bool_]:
        column, same = self.columns.get(name, _FIXED), _same(new, old)
        if column.immutable:
            return same
        if column.kind == "category":
            return np.asarray(same | np.isin(new, np.array(column.values, dtype=object)))
        value, start = new.astype(np.float64), old.astype(np.float64)
        ok = np.isfinite(value) & (value >= column.low) & (value <= column.high)
        ok &= column.direction * (value - start) >= 0 if column.direction else True
        if column.kind == "int":
            ok &= value == np.round(value)
        return np.asarray(ok | same)

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        """What each row's changes cost, ``(n,)``."""
        return self.cost(self.open(claim), self.open(origin))

    def cost(self, new: Columns, old: Columns) -> NDArray[np.float64]:
        """The same of columns that `open` gave."""
        total = np.zeros(_height(old))
        for name in old:
            column, same = self.columns.get(name), _same(new[name], old[name])
            if column is None or column.kind == "category":
                total += ~same * (column.cost if column else 1.0)
            else:
                change = np.abs(new[name].astype(np.float64) - old[name].astype(np.float64))
                total += np.where(same, 0.0, change / column.span * column.cost)
        return total

    @property
    def free(self) -> frozenset[str]:
        """Columns that somebody can change."""
        return frozenset(name for name, column in self.columns.items() if not column.immutable)

    def repair(self, x: Any, origin: Any) -> Any:
        """Changed rows brought back to what is allowed, as near as that goes: types, bounds, directions, groups, relations
        that a column alone can mend, and the budget. What comes back need not pass `check`: not every row can be mended.

        Args:
            x, origin: Changed and unchanged rows, both frames or both arrays ``(n, d)``.
        """
        return self.close(self.mend(self.open(x), self.open(origin)), x)

    def mend(self, new: Columns, old: Columns) -> Columns:
        """The same of columns that `open` gave."""
        table = {name: self._typed(name, new[name], old[name]) for name in old}
        self._grouped(table)
        for relation in self.relations.values():
            if isinstance(relation, Relation):
                relation.repair(table, self.free)
        table = {name: self._typed(name, table[name], old[name]) for name in old}
        cost = self.cost(table, old)
        for name in [n for n in old if n in self.free] if (cost > self.budget).any() else []:
            if self.columns[name].kind == "real":  # numbers give way together; what is whole stays where it was put
                share = np.minimum(1.0, self.budget / np.maximum(cost, 1e-300)) * (1 - 1e-12)
                start = old[name].astype(np.float64)
                moved = start + share * (table[name] - start)
                table[name] = np.where((cost > self.budget) & ~_same(table[name], old[name]), moved, table[name])
        return table

    def _typed(self, name: str, new: NDArray[Any], old: NDArray[Any]) -> NDArray[Any]:
        column = self.columns.get(name, _FIXED)
        if column.immutable:
            return old
        if column.kind == "category":
            return np.where(np.isin(new, np.array(column.values, dtype=object)), new, old)
        start = old.astype(np.float64)
        value = np.clip(np.where(np.isfinite(new.astype(np.float64)), new, start).astype(np.float64), column.low, column.high)
        if column.direction:
            value = np.maximum(value, start) if column.direction > 0 else np.minimum(value, start)
        return np.round(value) if column.kind == "int" else value

    def _grouped(self, table: dict[str, NDArray[Any]]) -> None:
        for group in self.one_of:
            values = np.stack([table[name].astype(np.float64) for name in group], 1)
            chosen = np.eye(len(group))[values.argmax(1)]
            for i, name in enumerate(group):
                table[name] = chosen[:, i]

    def propose(self, row: Any, origin: Any, rng: np.random.Generator) -> Any:
        """One random change of one changeable column (or group) of one row, within its bounds and direction; relations that a
        column alone can mend are mended. The row is a frame of one row, or an array ``(d,)``."""
        single = not hasattr(row, "iloc")
        x, start = (np.asarray(to_numpy(v))[None] if single else v for v in (row, origin))
        table = self.mutate(self.open(x), self.open(start), rng)
        for relation in self.relations.values():
            if isinstance(relation, Relation):
                relation.repair(table, self.free)
        changed = self.close(table, x)
        return changed[0] if single else changed

    def mutate(self, row: Columns, origin: Columns, rng: np.random.Generator) -> Columns:
        """The same of the columns ``(1,)`` of one row, with nothing mended."""
        grouped = {name for group in self.one_of for name in group}
        lots: list[tuple[str, ...]] = [(name,) for name in origin if name in self.free and name not in grouped]
        lots += [group for group in self.one_of if set(group) <= self.free]
        if not lots:
            return row
        lot, table = lots[int(rng.integers(len(lots)))], dict(row)
        if len(lot) == 1:
            value = _draw(self.columns[lot[0]], origin[lot[0]][0], rng)
            table[lot[0]] = np.array([value], np.float64 if isinstance(value, float) else table[lot[0]].dtype)
        else:
            pick = int(rng.integers(len(lot)))
            for i, name in enumerate(lot):
                table[name] = np.array([float(i == pick)])
        return table


_FIXED = Column(kind="category", immutable=True)


def _known(relation: Relation, columns: Collection[str]) -> None:
    """Refuse a relation about a column that is not there."""
    if missing := [name for name in relation.columns if name not in columns]:
        raise BadInput(f"relation {relation.text!r}: the table has no column {missing[0]!r}; it has {', '.join(columns)}")


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


def _height(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))


def _plain(column: Any) -> NDArray[Any]:
    """A column of a frame as an array; whatever marks a missing value is NaN."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        values: NDArray[Any] = column.to_numpy()
        return values
    values, missing = column.to_numpy(dtype=object), column.isna().to_numpy()
    return np.where(missing, np.nan, values) if missing.any() else values


def _same(new: NDArray[Any], old: NDArray[Any]) -> NDArray[np.bool_]:
    """Which cells of a column were left alone; a missing value that stays missing was."""
    return np.asarray((new == old) | ((new != new) & (old != old)), bool)  # only NaN differs from itself
