"""Properties: a share of the training data that the description says must stay secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...attacks.privacy._imputation import column_of
from ...attacks.privacy.property import drawn, enough
from ...core.adversary import Adversary
from ...core.case import Holdout, Property
from ...core.errors import BadInput
from ...core.target import count, to_numpy
from ...judges import property as judging
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, needs_recipe

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

SHARES = (0.3, 0.7)
SIZE = 500  # rows of a victim, at most
FEWEST = 20  # and at least
PROBES = 200


def check(case: Property) -> None:
    flag = np.asarray(to_numpy(case.flag), bool)
    if len(flag) != count(case.pool.x) or len(flag) != len(case.pool.y):
        raise BadInput(f"the pool has {count(case.pool.x)} records, {len(case.pool.y)} labels and {len(flag)} flags; one of each")
    enough(flag, case.shares, case.size, "the attacker's pool")
    if case.truth_flag is not None:
        enough(np.asarray(to_numpy(case.truth_flag), bool), case.shares, case.size, "the judge's pool")


def judge(at: Judging) -> Opinion:
    queries = at.meter.total["queries"]
    return judging.judge(at.case, at.claim, queries, draw=drawn, shown=at.endpoint.shown, seed=at.seed)


def build(bench: Bench, cell: Cell) -> Built:
    """What is held out is the attacker's pool; the judge trains victims from the training data."""
    assert bench.recipe is not None and bench.data is not None
    recipe, data, shares = bench.recipe, bench.data, shares_of(bench)
    own, theirs = flags(bench, data.x), flags(bench, recipe.x)
    return Built(Property(
        recipe=recipe, pool=Holdout(x=data.x, y=np.asarray(to_numpy(data.y))), flag=own, shares=shares,
        size=size_of(own, theirs, shares), truth=Holdout(x=recipe.x, y=recipe.y), truth_flag=theirs,
    ))  # fmt: skip


def stated(bench: Bench) -> dict[str, Any]:
    """What the description says must stay secret: ``column``, ``equals``, ``shares``."""
    binding = bench.system.binding(bench.component)
    return {} if binding is None else dict(binding.property)


def shares_of(bench: Bench) -> tuple[float, float]:
    first, second = (float(share) for share in stated(bench).get("shares", SHARES))
    return first, second


def flags(bench: Bench, x: Any) -> NDArray[np.bool_]:
    """Who belongs to the group ``(n,)``."""
    said = stated(bench)
    name: Any = said["column"]
    if hasattr(x, "iloc"):
        if name not in x.columns:
            raise BadInput(f"target.property.column={name!r}: the frame has {', '.join(map(str, x.columns))}")
    elif not str(name).isdigit() or np.ndim(to_numpy(x)) != 2 or int(name) >= np.shape(to_numpy(x))[1]:
        raise BadInput(f"target.property.column={name!r}: inputs are rows of numbers; give the index of one")
    else:
        name = int(name)
    column = np.asarray(column_of(x, name))
    wanted = said["equals"]
    same = column == wanted if column.dtype.kind in "iufb" else column.astype(str) == str(wanted)
    return np.asarray(same, bool)


def size_of(own: NDArray[np.bool_], theirs: NDArray[np.bool_], shares: tuple[float, float]) -> int:
    """The largest training set that can be drawn from both pools in both worlds."""
    low, high = min(shares), max(shares)
    most = [SIZE * 1.0]
    for flag in (own, theirs):
        most += [flag.sum() / high, (~flag).sum() / (1 - low)]
    return max(0, int(min(most)) - 1)


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    said = stated(bench)
    if not said:
        return "no secret share is stated: target.property (column, equals, shares)"
    if missing := [key for key in ("column", "equals") if key not in said]:
        return f"target.property lacks {' and '.join(missing)}"
    untrained = needs_recipe(bench, adversary)
    if untrained is not None or bench.recipe is None or bench.data is None:
        return untrained
    try:
        shares = shares_of(bench)
        own, theirs = flags(bench, bench.data.x), flags(bench, bench.recipe.x)
    except (BadInput, TypeError, ValueError) as error:
        return str(error)
    if not 0 <= min(shares) < max(shares) <= 1:
        return f"target.property.shares={list(shares)}: give two unlike shares from 0 to 1"
    size = size_of(own, theirs, shares)
    return None if size >= FEWEST else f"worlds of {size} rows are all that can be drawn; {FEWEST} are the fewest"


def asks(bench: Bench, chosen: Profile) -> int:
    return PROBES


def first(case: Property) -> Any:
    return case.pool.x


PROPERTY = Kind(
    check=check, judge=judge, build=build, why_not=why_not, size=lambda case: count(case.pool.x), asks=asks, again=first,
    asking=True,
)  # fmt: skip
