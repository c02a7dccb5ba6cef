"""Constraints on tables: types, bounds, prices and relations of columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


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
