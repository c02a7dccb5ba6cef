"""Audits: the recipe trained once more, with canaries that went in by fair coins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Adversary
from ...core.case import Audit, Holdout
from ...core.errors import BadInput
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from ...judges import audit
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, needs_recipe, rows_held, stacked

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

DELTA = 1e-5  # where the description states none
FEWEST = 20  # canaries: with fewer even a perfect attack shows next to nothing


def check(case: Audit) -> None:
    if not count(case.x) or count(case.x) != len(case.y):
        raise BadInput(f"the case has {count(case.x)} canaries and {len(case.y)} labels; give one label for each, at least one")
    if (case.epsilon is not None and not case.epsilon > 0) or not 0 <= case.delta < 1:
        raise BadInput(f"epsilon={case.epsilon}, delta={case.delta}: epsilon is above 0 or None, delta from 0 up to below 1")


def judge(at: Judging) -> Opinion:
    return audit.judge(at.case, at.claim, at.meter.total["queries"])


def build(bench: Bench, cell: Cell) -> Built:
    """Canaries are held-out records with a wrong label: nothing but having seen one makes a model say so."""
    assert bench.recipe is not None and bench.data is not None
    recipe, data, rng = bench.recipe, bench.data, RowRandom(cell.seed).fork(0xCA9A)
    size = _size(bench, int(cell.params["members"]))
    order = np.argsort(rng.uniform(np.arange(count(data.x)), 0), kind="stable")
    own, rest = order[:size], order[size:]
    x, y = take(data.x, own), wrong_labels(np.asarray(to_numpy(data.y))[own], np.asarray(to_numpy(recipe.y)), rng, own)
    truth = rng.uniform(np.arange(size), 2) < 0.5
    inside = np.flatnonzero(truth)
    labels = np.concatenate([np.asarray(to_numpy(recipe.y)), y[inside]])
    target = recipe.fit(stacked(recipe.x, take(x, inside)), labels, cell.seed)
    claimed, delta = claim_of(bench)
    population = Holdout(x=take(data.x, rest), y=np.asarray(to_numpy(data.y))[rest]) if len(rest) else None
    return Built(Audit(x=x, y=y, truth=truth, epsilon=claimed, delta=delta, population=population), target)


def _size(bench: Bench, members: int) -> int:
    """How many canaries: as many as the description says, else as candidates; more show more, and too many are no canaries
    but a second data set."""
    assert bench.recipe is not None
    binding = bench.system.binding(bench.component)
    stated = 0 if binding is None else binding.canaries
    return min(stated or members, rows_held(bench), max(FEWEST, count(bench.recipe.x) // 2))


def wrong_labels(y: NDArray[Any], known: NDArray[Any], rng: RowRandom, rows: NDArray[np.int64]) -> NDArray[Any]:
    """For each label another one that occurs in training, at random."""
    classes = np.unique(known)
    place = np.searchsorted(classes, y) % len(classes)
    step = 1 + rng.integers(rows, 1, len(classes) - 1)
    return np.asarray(classes[(place + step) % len(classes)])


def claim_of(bench: Bench) -> tuple[float | None, float]:
    """What the description claims of the training: epsilon (None where it claims none) and delta."""
    training = bench.system.component(bench.component).training
    stated = None if training is None else training.dp
    if stated is None or isinstance(stated, str):
        return None, DELTA
    return stated.eps, DELTA if stated.delta is None else stated.delta


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    missing = needs_recipe(bench, adversary)
    if missing is not None or bench.recipe is None:
        return missing
    labels = np.asarray(to_numpy(bench.recipe.y))
    if labels.dtype.kind == "f" or len(np.unique(labels)) < 2:
        return "canaries carry wrong classes, and the training labels are not at least two classes"
    return None if rows_held(bench) >= FEWEST else f"{rows_held(bench)} rows are held out; {FEWEST} canaries are the fewest"


def asks(bench: Bench, chosen: Profile) -> int:
    return chosen.members


def first(case: Audit) -> Any:
    return case.x


AUDIT = Kind(
    check=check, judge=judge, build=build, why_not=why_not, size=lambda case: count(case.x), asks=asks, again=first, asking=True,
)
