"""Attributes: a column that the description calls sensitive, hidden in members and in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...attacks.privacy._imputation import codes, column_of, imputed, without
from ...core.adversary import Adversary
from ...core.case import Attribute, Holdout
from ...core.disclosure import filled
from ...core.errors import BadInput
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from ...judges import attribute
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, needs_recipe, rows_held, stacked

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

POPULATION = 2500  # people whose value the attacker knows, at most
REFERENCE = 300  # of them asked about
BINS = 4  # a number with more values than LEVELS is told by quarters
LEVELS = 8
MOST = 50  # values of a category
ROWS = 3 * attribute.TAUGHT // 2  # held out: two thirds of them are the population


def check(case: Attribute) -> None:
    n, k = count(case.x), len(case.values)
    if not n or n != len(case.y):
        raise BadInput(f"the case has {n} records and {len(case.y)} labels; give one label for each, at least one record")
    if k < 2 or len({str(value) for value in case.values}) < k:
        raise BadInput(f"values={case.values}: give the values the column can hold, at least two, none of them twice")
    _has_column(case.x, case.column)
    held = column_of(case.x, case.column)
    if (held != np.asarray(case.values[:1], getattr(held, "dtype", None))[0]).any():
        raise BadInput(f"column {case.column!r} is not blank: fill it with {case.values[0]!r} (core.disclosure.filled)")
    if case.population is not None and count(case.population.x) != len(case.population.y):
        raise BadInput(f"the population has {count(case.population.x)} records and {len(case.population.y)} labels")
    if case.population is not None:
        _has_column(case.population.x, case.column)


def _has_column(x: Any, column: Any) -> None:
    if hasattr(x, "iloc"):
        if column not in x.columns:
            raise BadInput(f"there is no column {column!r}; the frame has {', '.join(map(str, x.columns))}")
        return
    shape = np.shape(to_numpy(x))
    if len(shape) != 2 or not isinstance(column, int | np.integer) or not 0 <= column < shape[1]:
        raise BadInput(f"column={column!r} of inputs of shape {shape}: give rows of numbers, and the index of one of them")


def judge(at: Judging) -> Opinion:
    return attribute.judge(at.case, at.claim, at.meter.total["queries"], imputed)


def build(bench: Bench, cell: Cell) -> Built:
    """As many members as others; what else is held out is the attacker's, with the column filled in."""
    assert bench.recipe is not None and bench.data is not None
    recipe, data = bench.recipe, bench.data
    column, values = column_in(bench, cell.params.get("column"))
    size = _size(bench, int(cell.params["members"]))
    inside = np.sort(np.argsort(RowRandom(cell.seed).fork(0xA77E).uniform(np.arange(count(recipe.x)), 0))[:size])
    x = stacked(take(recipe.x, inside), take(data.x, np.arange(size)))
    y = np.concatenate([np.asarray(to_numpy(take(recipe.y, inside))), np.asarray(to_numpy(data.y))[:size]])
    code = codes(column_of(x, column), values)
    keep = np.flatnonzero(code >= 0)
    rest = np.arange(size, min(count(data.x), size + POPULATION))
    population = Holdout(x=take(data.x, rest), y=np.asarray(to_numpy(data.y))[rest]) if len(rest) else None
    return Built(Attribute(
        x=filled(take(x, keep), column, values[0]), y=y[keep], column=column, values=values,
        truth=np.asarray(values)[code[keep]], member=keep < size, population=population,
    ))  # fmt: skip


def _size(bench: Bench, members: int) -> int:
    """Two thirds of what is held out, at least, are the attacker's population: a weak imputation would make a leak of nothing."""
    assert bench.recipe is not None
    return max(1, min(members, count(bench.recipe.x), rows_held(bench) // 3))


def sensitive(bench: Bench) -> tuple[str, ...]:
    """The columns that the description calls sensitive."""
    binding = bench.system.binding(bench.component)
    return () if binding is None else tuple(binding.sensitive)


def column_in(bench: Bench, wished: Any = None) -> tuple[Any, tuple[Any, ...]]:
    """The hidden column (name or index) and what it can hold. A number with many values is told by quarters.

    Raises:
        BadInput: There is no such column, or nothing to tell.
    """
    assert bench.data is not None
    named = [str(name) for name in sensitive(bench)]
    name: Any = named[0] if wished is None else str(wished)
    if name not in named:
        raise BadInput(f"column {name!r} is not stated as sensitive; target.sensitive has {', '.join(named)}")
    x = bench.data.x
    if not hasattr(x, "iloc"):
        name = int(name) if name.isdigit() else name
    _has_column(x, name)
    seen = np.asarray(column_of(x, name))
    if hasattr(x, "iloc") and hasattr(x[name], "cat"):
        seen = seen.astype(str)
    values = np.unique(seen[~_missing(seen)])
    if len(values) > LEVELS and values.dtype.kind in "iuf":
        values = np.unique(np.quantile(seen[~_missing(seen)], (np.arange(BINS) + 0.5) / BINS, method="nearest"))
    if not 2 <= len(values) <= MOST:
        raise BadInput(f"the sensitive column {name!r} has {len(values)} values; 2 to {MOST} can be told apart")
    return name, tuple(values.tolist())


def _missing(column: Any) -> Any:
    return np.array([value is None or value != value for value in column.tolist()], bool)


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    if not sensitive(bench):
        return "no sensitive column is stated: target.sensitive"
    missing = needs_recipe(bench, adversary)
    if missing is not None:
        return missing
    try:
        name, _ = column_in(bench)
    except BadInput as error:
        return str(error)
    if bench.data is not None and not _width(without(bench.data.x, name)):
        return f"there is no column beside {name!r}"
    return None if rows_held(bench) >= ROWS else f"{rows_held(bench)} rows are held out; {ROWS} are the fewest"


def _width(x: Any) -> int:
    return int(x.shape[1])


def asks(bench: Bench, chosen: Profile) -> int:
    """Two sides, and the reference, under every value."""
    if not sensitive(bench) or bench.recipe is None:
        return 0
    return (2 * _size(bench, chosen.members) + REFERENCE) * len(column_in(bench)[1])


def size(case: Attribute) -> int:
    return (count(case.x) + (0 if case.population is None else count(case.population.x))) * len(case.values)


def first(case: Attribute) -> Any:
    return case.x


ATTRIBUTE = Kind(check=check, judge=judge, build=build, why_not=why_not, size=size, asks=asks, again=first, asking=True)
