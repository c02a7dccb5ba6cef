"""DeepFool: step to the nearest boundary of the model made linear where the row stands, until the decision changes."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.goal import Becomes, Routed, Vanish, Wrong
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._nearest import ball_of, begin, can_pay, merged, met, nearer, pull_back, rounding, selected


@attack(
    "evasion.deepfool",
    needs=Need.GRADIENT | Need.LOGIT | Need.LABEL,
    norms=("l2", "linf"),
    papers=("arXiv:1511.04599",),
    aka=("DeepFool",),
    spends="until it succeeds, at most steps x (1 look + 1 gradient + candidates - 1 backwards) per row; then polish looks",
    static_cost=lambda a: 1 + a.steps * (2 + 2 * a.candidates) + a.polish,
)
class DeepFool:
    """Go to the nearest of the boundaries with the likeliest other classes, a little beyond, until the decision changes.

    What it finds is no bound on robustness: the first boundary crossed need not be the nearest. A row that succeeded asks
    no more, but for its search back. Each point is looked at before it is differentiated: a forward pass tells which rows
    are done, and spares them a backward pass for every class.

    It differs from the paper in two things. After the first step only the `again` classes whose boundaries were nearest
    are compared. And the last looks search the way back to the input, because the overshoot and the curve of the boundary
    leave a gap; `polish=0` leaves it out. For a wished class the boundary is the one with the best other class.

    Args:
        steps: Steps for each row, at most.
        candidates: Classes whose slopes are taken in the first step: the true one and the likeliest others.
        again: As many in all later steps, at most `candidates`.
        overshoot: How far beyond the boundary each step aims, as a share of the margin at the input.
        polish: Looks for the search from the success back to the input.
    """

    steps: int = 50
    candidates: int = 10
    again: int = 3
    overshoot: float = 0.02
    polish: int = 4

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball_of(case, "evasion.deepfool", ("l2", "linf"))
        if not isinstance(case.goal, Wrong | Becomes | Routed | Vanish) or self.candidates < 2 or self.again < 2:
            raise BadInput(
                "evasion.deepfool goes from class to class, and compares two of them at least; "
                f"got goal={case.goal!r}, candidates={self.candidates}, again={self.again}"
            )
        if case.loss is not None:
            raise BadInput("evasion.deepfool takes the slopes of the classes themselves and climbs no loss; leave loss= out")
        at = begin(case)
        at = at.keep(open=torch.ones_like(at.broken))
        for step in range(self.steps):
            part, index = selected(at, at.state["open"] & can_pay(oracle, at, looks=1))
            if not len(part):
                break
            at = yield merged(at, self._step(oracle, case, part, first=step == 0), index)
        part, index = selected(at, at.state["open"] & can_pay(oracle, at, looks=1))
        if len(part):
            at = yield merged(at, nearer(part, case, oracle.look(part.x, rows=part.row)), index)
        return (yield from pull_back(oracle, case, at, self.polish, max(self.overshoot, 0.01)))

    def _step(self, oracle: Oracle, case: Evade, at: Rows, *, first: bool) -> Rows:
        """Look at where the rows stand, and move those that are not done."""
        response = oracle.look(at.x, rows=at.row)
        logits = torch.as_tensor(response.logits, device=at.x.device)
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise BadInput(f"evasion.deepfool needs the logits of two classes or more; got shape {tuple(logits.shape)}")
        won = met(at, case, response)
        at = nearer(at, case, response, won=won)
        if first:
            at = at.keep(margin=case.goal.loss(logits, at.y).abs())
        if first or isinstance(case.goal, Becomes | Vanish):  # the best other class may change on the way to a wished one
            at = at.keep(classes=_ranked(case, logits, at.y, self.candidates))
        slopes = at.state["classes"].shape[1]
        slopes = slopes if first else min(slopes, self.again)
        at = at.keep(open=at.state["open"] & ~won & can_pay(oracle, at, gradients=slopes))
        part, index = selected(at, at.state["open"])
        if not len(part):
            return at
        part = self._move(oracle, case, part, logits if index is None else logits[index], slopes, first=first)
        return merged(at, part, index)

    def _move(self, oracle: Oracle, case: Evade, at: Rows, logits: Tensor, count: int, *, first: bool) -> Rows:
        """Go beyond the nearest boundary of the linear model. A row that has none stays, and is done."""
        ball, classes = case.within, at.state["classes"][:, :count]
        assert isinstance(ball, Ball)
        slopes = oracle.jacobian(at.x, classes=classes, rows=at.row).slopes.to(at.x.dtype)
        pull = torch.nan_to_num(slopes[:, 1:] - slopes[:, :1], 0.0, 0.0, 0.0).flatten(2)
        shown = logits.gather(1, classes).to(at.x.dtype)
        beyond = self.overshoot * at.state["margin"] + 2 * rounding(logits)
        lead = (shown[:, :1] - shown[:, 1:]).clamp_min(0) + beyond.to(at.x.dtype)[:, None]
        size = pull.norm(p=2.0 if ball.norm == "l2" else 1.0, dim=2)
        far = torch.where(size > 0, lead / size, torch.inf)
        if first:
            others = at.state["classes"][:, 1:].gather(1, far.argsort(dim=1, stable=True))
            at = at.keep(classes=torch.cat([at.state["classes"][:, :1], others], 1))
        nearest = far.argmin(1, keepdim=True)
        far, size = far.gather(1, nearest), size.gather(1, nearest)
        pull = pull.gather(1, nearest[:, :, None].expand(-1, 1, pull.shape[2]))[:, 0]
        change = far * (pull / size.clamp_min(1e-30) if ball.norm == "l2" else pull.sign())
        moved = torch.isfinite(far[:, 0])
        change = torch.where(moved[:, None], change, 0.0).reshape(at.x.shape)
        return at.at(ball.box(at.x + change)).keep(open=moved)


def _ranked(case: Evade, logits: Tensor, y: Tensor, count: int) -> Tensor:
    """The class to leave and those to reach, likeliest first, ``(n, k)``; of a wished class, the best other one and it."""
    goal = case.goal
    if isinstance(goal, Becomes | Vanish):
        wished = torch.full_like(y, goal.target if isinstance(goal, Becomes) else goal.nothing)[:, None].long()
        return torch.cat([logits.scatter(1, wished, -torch.inf).argmax(1, keepdim=True), wished], 1)
    own = y.reshape(-1, 1).long()
    open_to = logits.scatter(1, own, -torch.inf)
    if isinstance(goal, Routed) and goal.to:
        among = torch.full_like(logits, -torch.inf)
        among[:, list(goal.to)] = open_to[:, list(goal.to)]
        open_to = among
    return torch.cat([own, open_to.topk(min(count, logits.shape[1]) - 1, dim=1).indices], 1)
