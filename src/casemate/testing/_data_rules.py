"""The contract's rule on training data: nobody reads what was not granted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Adversary, Need, researcher
from ..core.case import Evade, Poison, Property
from ..core.errors import CasemateError, NotGranted
from ..core.oracle import Meter
from ..core.poison import Adopt
from ..core.random import RowRandom
from ..core.target import Recipe, count, take, to_numpy
from ..core.withheld import Withheld, given
from ._trial import SETS, Trial, adversary_of, oracle_of, trial, unlike
from .contract import demand
from .rig import Rig, Setup, Variant, arrays_of

ASKED = {"infer": "x", "audit": "x", "attribute": "x", "evade": "x"}  # members lie among these: that is the question
DEEP = 6  # steps from the case or the oracle
ROUTE = "let the case and the oracle go through casemate.core.withheld"
SAY = "say needs=Need.DATA, or work with the records it contributes (own) and with what the oracle grants"


def data(attack: Any, rig: Rig) -> None:
    """Without `Need.DATA` no attribute of case or oracle leads to the owner's rows, and no claim depends on them."""
    setup = rig.make(Variant())
    if not owned(setup):
        return
    _out_of_reach(attack, rig, setup)
    if Need.DATA not in attack.info.needs and not isinstance(setup.case, Evade):
        _unread(attack, rig)


def owned(setup: Setup) -> list[Any]:
    """What a setup holds of the owner's training inputs."""
    recipes = [getattr(setup.case, "recipe", None), setup.known.recipe]
    found = [recipe.x for recipe in recipes if recipe is not None]
    found += [setup.known.data[0]] if setup.known.data is not None else []
    found += [setup.case.x] if isinstance(setup.case, Adopt) else []
    return [x for x in found if x is not None and count(x)]


def _secret(setup: Setup, own: Any) -> set[bytes]:
    """Names of the owner's rows that are neither the attacker's own nor among those it is asked about."""
    found = set[bytes]().union(*(keys(x) for x in owned(setup)))
    recipe: Recipe | None = getattr(setup.case, "recipe", None)
    if recipe is not None and own is not None:
        found -= keys(take(recipe.x, np.asarray(own)))
    asked = ASKED.get(setup.case.kind)
    return found - (keys(getattr(setup.case, asked)) if asked else set())


def _out_of_reach(attack: Any, rig: Rig, setup: Setup) -> None:
    """For somebody who may do everything but read the data."""
    may = (researcher().may | attack.info.needs) & ~Need.DATA
    hands = Adversary(name="somebody", may=may, budget=replace(rig.budget or SETS))
    case = setup.case.blind() if hasattr(setup.case, "blind") else setup.case
    case = given(case, hands, RowRandom(0))
    oracle = oracle_of(attack, Trial(setup=setup, case=case, meter=Meter(np.arange(1))), hands)
    secret, labels = _secret(setup, getattr(case, "own", None)), _labels(setup)
    for start, name in ((case, "case"), (oracle, "oracle")):
        for path, value in reached(start, name):
            shown = len(keys(value) & secret)
            found = f"{path} shows {shown} rows of the owner's to somebody who does not hold 'data'"
            demand(not shown, "data", attack.info.id, found, ROUTE)
            demand(not any(_same(value, y) for y in labels), "data", attack.info.id, f"{path} shows the owner's labels", ROUTE)


def _labels(setup: Setup) -> list[Any]:
    """All of the owner's labels: to be told by where they lie, because others may be equal."""
    recipes = [getattr(setup.case, "recipe", None), setup.known.recipe]
    return [recipe.y for recipe in recipes if recipe is not None and recipe.y is not None]


def _same(value: Any, y: Any) -> bool:
    return value is y or (isinstance(value, np.ndarray) and isinstance(y, np.ndarray) and np.shares_memory(value, y))


def _unread(attack: Any, rig: Rig) -> None:
    """It runs without the data, hands none of it in, and claims the same whatever lies in the rows that are not its own."""
    try:
        first = trial(attack, rig)
    except NotGranted as error:
        demand("'data'" not in str(error), "data", attack.info.id, f"it reads training data: {error}", SAY)
        raise
    own = getattr(given(first.case, adversary_of(attack, rig.budget), RowRandom(0)), "own", None)
    secret = _secret(first.setup, own)
    shown = sum(len(keys(value) & secret) for _, value in arrays_of(first.claim, "claim"))
    demand(not shown, "data", attack.info.id, f"its claim holds {shown} rows of the owner's that nobody gave it", SAY)
    second = trial(attack, rig, setup=_with_other_rows(rig.make(Variant()), own))
    gap = unlike(first.claim, second.claim, getattr(getattr(first.case, "truth", None), "x", None))
    found = f"its claim changes by {gap:g} with training rows that are not its own"
    demand(gap == 0, "data", attack.info.id, found, SAY)


def _with_other_rows(setup: Setup, own: Any) -> Setup:
    """The same, where of every two of the owner's rows the first stands for both. The deployed target stays as it is."""
    known, case = setup.known, setup.case
    if known.recipe is not None:
        known = replace(known, recipe=_other(known.recipe, own))
    if known.data is not None:
        half = np.arange(count(known.data[0])) // 2
        known = replace(known, data=(take(known.data[0], half), take(known.data[1], half)))
    if isinstance(case, Poison | Property):
        case = replace(case, recipe=_other(case.recipe, own))
    return replace(setup, known=known, case=case)


def _other(recipe: Recipe, own: Any) -> Recipe:
    place = np.arange(count(recipe.x))
    rest = place if own is None else np.setdiff1d(place, own)
    place[rest] = rest[np.arange(len(rest)) // 2 * 2]
    return replace(recipe, x=take(recipe.x, place), y=take(np.asarray(to_numpy(recipe.y)), place))


# what can be reached ---------------------------------------------------------------------------------------------------


def reached(start: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every collection that public attributes lead to from `start`, by its path; what functions hold on to is followed too."""
    seen: dict[int, Any] = {}  # by identity, and held, so that no identity is given twice

    def walk(value: Any, path: str, deep: int) -> Iterator[tuple[str, Any]]:
        if value is None or isinstance(value, str | bytes | int | float | type) or id(value) in seen or deep > DEEP:
            return
        seen[id(value)] = value
        if _readable(value) is not None:
            yield path, _readable(value)
        for part, inner in _parts(value, top=deep == 0):
            yield from walk(inner, f"{path}{part}", deep + 1)

    yield from walk(start, name, 0)


def _readable(value: Any) -> Any:
    """The rows of a collection that can be read, one by one where all are not given; None where it is no collection."""
    if isinstance(value, np.ndarray | list | tuple) or hasattr(value, "iloc") or hasattr(value, "detach"):
        return value if getattr(value, "shape", (1,)) != () and len(value) else None
    if not isinstance(value, Withheld):
        return None
    some = [i for i in range(len(value)) if _granted(value, i)]
    return take(value, np.array(some)) if some else None


def _granted(value: Any, place: int) -> bool:
    try:
        take(value, np.array([place]))
    except NotGranted:
        return False
    return True


def _parts(value: Any, *, top: bool) -> Iterator[tuple[str, Any]]:
    """What a value is made of, with what to write after its path."""
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", inner) for key, inner in value.items())
    elif isinstance(value, tuple | list):
        yield from ((f"[{i}]", inner) for i, inner in enumerate(value[:100]))
    elif callable(value) and hasattr(value, "__code__"):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=False)
        yield from ((f".{name}", _content(cell)) for name, cell in cells)
        yield ".__wrapped__", getattr(value, "__wrapped__", None)
    elif isinstance(value, partial):
        yield from ((".args", value.args), (".keywords", value.keywords), (".func", value.func))
    elif dataclasses.is_dataclass(value) or top or type(value).__module__.startswith("casemate."):
        yield from ((f".{name}", _attribute(value, name)) for name in _names(value, top) if not name.startswith("_"))


def _names(value: Any, top: bool) -> list[str]:
    """Its attributes; of the case and the oracle themselves those that are worked out when asked for, too."""
    if top:
        return dir(value)
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    return [*(part.name for part in fields), *getattr(value, "__dict__", ())]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except (CasemateError, AttributeError):
        return None


def keys(x: Any) -> set[bytes]:
    """A name for each row of inputs: equal rows have equal ones. None where `x` holds no rows of inputs."""
    if hasattr(x, "itertuples"):
        return {repr(row).encode() for row in x.itertuples(index=False, name=None)}
    if isinstance(x, list | tuple):
        return {repr(row).encode() for row in x if isinstance(row, str | bytes)}
    array: NDArray[Any] = np.asarray(to_numpy(x)) if hasattr(x, "__array__") or hasattr(x, "detach") else np.zeros(0)
    if array.ndim < 2 or array.dtype.kind not in "biuf":
        return {repr(row).encode() for row in array.tolist()} if array.dtype.kind in "US" and array.ndim == 1 else set()
    return {row.tobytes() for row in np.ascontiguousarray(array.reshape(len(array), -1), np.float64) + 0.0}
