"""What attacks that only see scores climb, and how they ask: never more than is left to a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.case import Evade
from ...core.errors import NotGranted
from ...core.goal import Shift, reached
from ...core.oracle import Oracle
from ...core.target import Response, to_numpy
from .._rows import Rows


def climb(case: Evade, response: Response, y: Any) -> Any:
    """How near each answer is to the goal, ``(n,)``, from the finest scores shown; None where only labels are.

    Probabilities are taken to their logarithms first, which makes the margin the one of the logits: the margin of the
    probabilities themselves is flat wherever the model is sure.

    Args:
        case: Its own loss, where it brings one, comes before the goal's.
        response: What was shown; scores or logits ``(n, k)``. Of a regression the decision is the score.
        y: What is true of each, ``(n,)``.
    """
    loss = case.loss or case.goal.loss
    if response.logits is not None:
        return loss(response.logits, y if hasattr(response.logits, "gather") else to_numpy(y))
    scores = response.scores
    if scores is None and isinstance(case.goal, Shift):
        scores = response.label
    if scores is None:
        return None
    if not isinstance(case.goal, Shift) and _distribution(scores):
        # Below the smallest normal number of its precision a softmax has nothing left to say.
        wide = "float64" in str(scores.dtype)
        scores = scores.clip(float(np.finfo(np.float64 if wide else np.float32).tiny), None)
        scores = scores.log() if hasattr(scores, "log") else np.log(scores)
    return loss(scores, y if hasattr(scores, "gather") else to_numpy(y))


def _distribution(scores: Any) -> bool:
    # Rounded probabilities add up to one only roughly; ten classes at two decimals are off by 0.05 at most.
    return scores.ndim == 2 and bool((scores >= 0).all()) and bool((abs(scores.sum(1) - 1) < 0.06).all())


def allowance(oracle: Oracle, row: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """How many queries, of `most`, each row may ask now, ``(n,)``. Zero for all: there is nothing left to do.

    What is left of the whole campaign goes to the rows of the lowest ids.
    """
    count = np.minimum(oracle.left(row), most).astype(np.int64)
    if count.sum() > oracle.affordable:
        order = np.argsort(row)
        before = np.cumsum(count[order]) - count[order]
        count[order] = np.clip(oracle.affordable - before, 0, count[order])
    return count


def losses(oracle: Oracle, case: Evade, at: Rows, x: Tensor, who: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Ask about `x` ``(m, *shape)``, each a question of the row at place `who` ``(m,)``, in one model call.

    Returns:
        What is climbed ``(m,)``, in the precision of the inputs, minus infinity where it is not a number; and which
        answers meet the goal ``(m,)``.

    Raises:
        NotGranted: The endpoint shows no scores.
    """
    response = oracle.look(x, rows=at.row[who])
    y = at.y[torch.as_tensor(who, device=at.y.device)]
    found = climb(case, response, y)
    if found is None:
        raise NotGranted(f"{oracle.adversary.name}: scores are granted, but the endpoint shows none; attack by labels")
    loss = torch.as_tensor(found, dtype=at.x.dtype, device=at.x.device)
    met = torch.as_tensor(reached(case.goal, response.label, y), device=at.x.device)
    return loss.nan_to_num(-torch.inf, torch.inf, -torch.inf), met


def take_in(at: Rows, x: Tensor, loss: Tensor, met: Tensor, may: Tensor | None = None) -> Rows:
    """The rows with the answer at `x` taken in, one point a row: the best is the broken first, then the larger loss.

    Args:
        may: Which rows were asked at all, and may claim the point ``(n,)``; all of them when left out.
    """
    better = (met & ~at.broken) | ((met == at.broken) & (loss > at.loss))
    if may is not None:
        better, met = better & may, met & may
    wide = better.reshape(-1, *([1] * (x.ndim - 1)))
    best = x if bool(better.all()) else torch.where(wide, x, at.best) if bool(better.any()) else at.best
    return replace(at, best=best, loss=torch.where(better, loss, at.loss), broken=at.broken | met)


def look(oracle: Oracle, case: Evade, at: Rows) -> Rows | None:
    """Ask where the rows stand, one query a row, and take it in; None where no row has a query left.

    State: `said` ``(n,)``, what is climbed there, minus infinity for a row that has nothing left and was not asked.
    """
    who = np.flatnonzero(allowance(oracle, at.row, 1))
    if not len(who):
        return None
    if len(who) == len(at):
        loss, met = losses(oracle, case, at, at.x, who)
        return take_in(at, at.x, loss, met).keep(said=loss)
    places = torch.as_tensor(who, device=at.x.device)
    loss, met = losses(oracle, case, at, at.x[places], who)
    may = torch.zeros_like(at.broken).index_fill_(0, places, True)
    wide = torch.full_like(at.loss, -torch.inf).index_copy_(0, places, loss)
    return take_in(at, at.x, wide, torch.zeros_like(at.broken).index_copy_(0, places, met), may).keep(said=wide)
