"""A pretrained parent with a backdoor: the judge fine-tunes it as the victim does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import BadInput
from ...core.poison import Adopt
from ...core.target import Target, count
from ...judges import adopt
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, rows_held
from .poison import towards

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ...core.poison import Backdoor
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile


def check(case: Adopt) -> None:
    if not case.seeds:
        raise BadInput("seeds is empty; give at least one")
    if not count(case.x) or count(case.x) != len(case.y):
        raise BadInput(f"the victim has {count(case.x)} inputs and {len(case.y)} labels; give one each")


def judge(at: Judging) -> Opinion:
    return adopt.judge(at.case, at.claim, seed=at.seed)


def why_not(bench: Bench, _: Adversary) -> str | None:
    binding = bench.system.binding(bench.component)
    if bench.parent is None:
        return "no parent"
    if binding is None or not binding.finetune:
        return "no finetune"
    return "no recipe" if bench.recipe is None else None


def build(bench: Bench, cell: Cell) -> Built:
    """The victim fine-tunes on the data of its recipe."""
    from ..bench import _Loader

    binding = bench.system.binding(bench.component)
    assert binding is not None and binding.finetune and bench.parent is not None and bench.recipe is not None
    function = _Loader(Path(bench.system.folder or "."), bench.component).find("finetune", binding.finetune)
    return Built(Adopt(
        parent=bench.parent, finetune=Finetune(function), x=bench.recipe.x, y=bench.recipe.y, aim=_aim(bench), truth=bench.data,
        seeds=tuple(range(int(cell.params["seeds"]))),
    ))  # fmt: skip


class Finetune:
    """The user's own function, on the model itself where it wants one, and what it makes as a target."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, parent: Target, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        return wrap(self._function(parent, x, y, seed))


def _aim(bench: Bench) -> Backdoor:
    from ...core.poison import Backdoor

    return Backdoor(to=towards(bench, 0))


def judged(bench: Bench, chosen: Profile) -> int:
    """Its own held-out data, of each child and its clean twin, marked and plain."""
    return 4 * rows_held(bench) * chosen.seeds


ADOPT = Kind(check=check, judge=judge, build=build, why_not=why_not, judged=judged, targetless=True)
