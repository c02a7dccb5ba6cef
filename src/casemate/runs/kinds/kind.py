"""The shape of a kind: how its case is checked, built, paid for and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.endpoint import Endpoint
from ...core.errors import BadInput
from ...core.oracle import Meter
from ...core.target import Recipe, Target, count, to_numpy
from ...judges.opinion import Opinion

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What a judge of a set may look at.

    Args:
        attack, case: What ran, and on what; the case with its hidden truth.
        claim: The last claim; None where there was none.
        kept: A few claims on the way, the last among them, each with the calls made by then.
        endpoint, meter, target: As the attack left them; the target under watch, None where the case has none.
        seed: Of the run.
        recipe: How the deployed model is trained, where that is bound.
    """

    attack: Any
    case: Any
    claim: Any
    kept: Sequence[tuple[int, Any]]
    endpoint: Endpoint
    meter: Meter
    seed: int
    target: Any
    recipe: Recipe | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A case ready to run, and the target it is about where that is not the deployed one (a model trained for it)."""

    case: Any
    target: Target | None = None


def nothing(*_: Any) -> int:
    return 0


def no_reason(*_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of set case.

    Args:
        check: Says what is wrong with a case before anything is spent on it (raises `BadInput`).
        judge: From what is left of the run to an opinion.
        build: The case of a cell, from what the description binds.
        why_not: ``(bench, adversary) -> reason`` why no such case can be built here; None where one can, an empty string
            where it simply is not meant for this.
        size: Ledger ids the case needs.
        asks: ``(bench, profile) -> rows`` an attack sends, at most.
        judged: ``(bench, profile) -> rows`` the judge and the building send, at most.
        again: Inputs of the case whose answers must be the same before and after; None where there is nothing to ask.
        targetless: Whether it runs without a deployed target.
        alone: Whether it needs neither target nor data: what `why_not` says is all there is to ask.
        asking: Whether an attack that asked nothing cannot have learned anything (health check 39).
        plan: ``case -> {"queries": n}`` or ``{"records": n}``: what an attack spends where the budget covers it, and cuts
            down to the budget where it does not; empty where attacks just ask until they are done.
    """

    check: Callable[[Any], None]
    judge: Callable[[Judging], Opinion]
    build: Callable[[Bench, Cell], Built]
    why_not: Callable[[Bench, Adversary], str | None] = no_reason
    size: Callable[[Any], int] = lambda case: 1
    asks: Callable[[Bench, Profile], int] = nothing
    judged: Callable[[Bench, Profile], int] = nothing
    again: Callable[[Any], Any] = no_reason
    targetless: bool = False
    alone: bool = False
    asking: bool = False
    plan: Callable[[Any], dict[str, int]] = lambda case: {}


def stacked(a: Any, b: Any) -> Any:
    """The rows of `a`, then those of `b`, of whatever kind they are."""
    if hasattr(a, "iloc"):
        import pandas

        return pandas.concat([a, b], ignore_index=True)
    if isinstance(a, list | tuple):
        return [*a, *b]
    return np.concatenate([to_numpy(a), to_numpy(b)])


def rows_held(bench: Bench) -> int:
    """Rows of the data that no training saw."""
    return 0 if bench.data is None else count(bench.data.x)


def needs_recipe(bench: Bench, _: Adversary) -> str | None:
    """The reason of a kind that trains."""
    return "no recipe" if bench.recipe is None else None


def groups_in(bench: Bench, x: Any) -> Any:
    """The group of each row of `x`, by the column that the description names; None where it names none, or `x` has none."""
    binding = bench.system.binding(bench.component)
    name = None if binding is None else binding.group
    if name is None:
        return None
    if not hasattr(x, "iloc") or name not in x.columns:
        raise BadInput(f"target.group={name!r} of {bench.component!r} is no column of the data; give the name of one of a frame")
    return x[name].to_numpy().astype(str)
