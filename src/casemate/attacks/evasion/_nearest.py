"""Keeping the nearest success: what attacks that look for the smallest change share.

Their rows carry `near`, the nearest input so far that meets the goal, wherever it lies, and `size`, its distance in
float64. A claim it is only inside the constraint; `loss` is minus the distance, so that progress can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.goal import Becomes, Loss, Routed, Vanish, Wrong, reached
from ...core.oracle import Oracle
from ...core.target import Response
from .._rows import Rows
from . import _own

ROUNDINGS = 16  # of the largest logit


def begin(case: Evade) -> Rows:
    """All rows of a case at their origins, with no success seen yet. State: `near` ``(n, *shape)``, `size` ``(n,)``."""
    at = Rows.begin(case)
    return at.keep(near=at.origin, size=torch.full((len(at),), torch.inf, dtype=torch.float64, device=at.x.device))


def met(at: Rows, case: Evade, response: Response) -> Tensor:
    """Which rows' answer meets the goal, ``(n,)`` booleans; none whose logits lie within rounding of not meeting it.

    Searches for the smallest change end on the boundary itself. There the same input is decided differently in a batch of
    another size, and a success that is gone when the judge looks is none.
    """
    won = torch.as_tensor(reached(case.goal, response.label, at.y), device=at.x.device)
    logits = response.logits
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or not bool(won.any()):
        return won
    doubtful = torch.as_tensor(case.goal.loss(logits, at.y)).abs() <= rounding(logits)
    return won & ~doubtful.to(won.device)


def rounding(logits: Tensor) -> Tensor:
    """By how much the margin of each row must clear the boundary to be sure of its side, ``(n,)``."""
    return ROUNDINGS * torch.finfo(logits.dtype).eps * logits.abs().amax(1)


def nearer(at: Rows, case: Evade, response: Response, x: Tensor | None = None, *, won: Tensor | None = None) -> Rows:
    """Take in what was answered at `x` (by default where the rows stand): the nearest success of each row is kept.

    `x` is what was asked, in the precision it was asked in and inside the box (`Ball.box`); nothing is moved here. `won`
    spares asking the goal again where the caller did already; rows it leaves out are not taken in.
    """
    here = at.x if x is None else x
    ball = case.within
    assert isinstance(ball, Ball)
    won = met(at, case, response) if won is None else won
    if not bool(won.any()):
        return at
    size = distance(here, at.origin, ball.norm)
    better = won & (size < at.state["size"])
    wide = better.reshape(-1, *([1] * (here.ndim - 1)))
    near = torch.where(wide, here, at.state["near"])
    size = torch.where(better, size, at.state["size"])
    # As `Ball.check` counts; a row with no success yet is at infinity, which an infinite radius would let in.
    claim = torch.isfinite(size) & (size <= ball.radius * (1 + 1e-9) + 1e-12)
    best = torch.where((better & claim).reshape(wide.shape), here, at.best)
    return replace(at, best=best, broken=at.broken | claim, loss=(-size).to(at.loss.dtype)).keep(near=near, size=size)


def distance(x: Tensor, origin: Tensor, norm: str) -> Tensor:
    """The size of each row's change in float64, ``(n,)``."""
    change = (x.double() - origin.double()).flatten(1)
    if norm == "linf":
        return change.abs().amax(1)
    if norm == "l2":
        return change.square().sum(1).sqrt()
    return change.abs().sum(1) if norm == "l1" else (change != 0).sum(1).double()


def ball_of(case: Evade, attack: str, norms: tuple[str, ...]) -> Ball:
    """The ball of a case, of one of `norms`; anything else is refused by name."""
    why = "its steps follow from what a norm calls near"
    return _own.ball_of(case, attack, norms, why, "looks for the smallest change inside")


def margin(case: Evade, attack: str) -> Loss:
    """The case's own loss, else the goal's: at least zero where an argmax decision meets the goal."""
    return case.loss or _classes_only(case.goal.loss, case, attack)


def soft_margin(case: Evade, attack: str) -> Loss:
    """What points where cross-entropy points, and never saturates; the case's own loss, where it has one, comes first.

    Cross-entropy's slope is a sum over the other classes k of ``p_k * (slope of z_k - slope of z_y)``: it vanishes as the
    truth becomes certain. ``logsumexp of the others - z_y`` has that same slope over ``1 - p_y``, so the same direction.
    """
    if case.loss is not None:
        return case.loss
    goal = case.goal
    if isinstance(goal, Becomes | Vanish):
        wished = goal.target if isinstance(goal, Becomes) else goal.nothing
        return _classes_only(lambda logits, y: -_others_lead(logits, torch.full_like(y, wished)), case, attack)
    if isinstance(goal, Wrong) or (isinstance(goal, Routed) and not goal.to):
        return _classes_only(_others_lead, case, attack)
    return goal.loss


def _others_lead(logits: Tensor, y: Tensor) -> Tensor:
    index = y.reshape(-1, 1).long()
    return logits.scatter(1, index, -torch.inf).logsumexp(1) - logits.gather(1, index)[:, 0]


def _classes_only(loss: Loss, case: Evade, attack: str) -> Loss:
    """The loss, where there are classes to tell apart."""
    if not isinstance(case.goal, Wrong | Becomes | Routed | Vanish):
        return loss

    def checked(logits: Tensor, y: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise BadInput(
                f"{attack} needs the logits of two classes or more for {case.goal!r}; got outputs of shape "
                f"{tuple(logits.shape)}; use goal=Shift(...) for a regression"
            )
        found: Tensor = loss(logits, y)
        return found

    return checked


def unfinished(at: Rows) -> tuple[Rows, Tensor | None]:
    """The rows that are not at distance 0 yet, and where they stand in `at`: None where they are all rows."""
    return selected(at, at.state["size"] > 0)


def selected(at: Rows, mask: Tensor) -> tuple[Rows, Tensor | None]:
    """The rows under `mask`, to be worked on alone, and where they stand in `at`: None where they are all rows."""
    if bool(mask.all()):
        return at, None
    index = mask.nonzero()[:, 0]
    return at.only(index.cpu().numpy()), index


def can_pay(oracle: Oracle, at: Rows, *, gradients: int = 0, looks: int = 0) -> Tensor:
    """Which rows can still pay for that many gradients (backward passes count as such) and looks, ``(n,)`` booleans.

    Where rows spend at a different pace, one that is at its cap would otherwise end the attack for all the others.
    """
    able = oracle.left(at.row) >= looks
    cap = oracle.adversary.budget.gradients_per_row
    if cap is not None:
        able &= cap - oracle.spent("gradients", at.row) - oracle.spent("backwards", at.row) >= gradients
    return torch.as_tensor(able, device=at.x.device)


def merged(at: Rows, part: Rows, index: Tensor | None) -> Rows:
    """`at` with the rows at `index` as `part` left them. Other rows cost nothing meanwhile, and stay in the record."""
    if index is None:
        return part
    place = index

    def put(whole: Tensor, some: Tensor) -> Tensor:
        return whole.index_copy(0, place, some.to(whole.dtype))

    return replace(
        at, x=put(at.x, part.x), best=put(at.best, part.best), loss=put(at.loss, part.loss), broken=put(at.broken, part.broken),
        state={name: put(value, part.state[name]) for name, value in at.state.items()},
    )  # fmt: skip


def last_look(oracle: Oracle, case: Evade, at: Rows) -> Rows:
    """Look at where the last move led: it would otherwise have been for nothing."""
    part, index = unfinished(at)
    return merged(at, nearer(part, case, oracle.look(part.x, rows=part.row)), index) if len(part) else at


def wide(value: Tensor, like: Tensor) -> Tensor:
    """One number a row, shaped to multiply `like`."""
    return value.reshape(-1, *([1] * (like.ndim - 1)))


def cosine(step: int, steps: int, first: float, last: float) -> float:
    """From `first` at step 0 to nearly `last`, along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def pull_back(oracle: Oracle, case: Evade, at: Rows, looks: int, first: float) -> Generator[Rows, Rows, Rows]:
    """Search the way from the nearest success back to the origin, one look at a time; only rows with one are asked.

    `first` is the share of the way tried first (for ``l0``, one value). While the goal still holds, the next try goes back
    twice as far; after the first miss, halfway between miss and success. What is kept was seen to succeed.
    """
    one = torch.ones(len(at), dtype=torch.float64, device=at.x.device)
    norm = getattr(case.within, "norm", "")
    back = 1 / at.state["size"].clamp_min(1) if norm == "l0" else one * first
    at = at.keep(reach=one, miss=-one, back=back, top=at.state["near"])
    for _ in range(looks):
        found = torch.isfinite(at.state["size"]) & (at.state["size"] > 0)
        part, index = selected(at, found & can_pay(oracle, at, looks=1))
        if not len(part):
            break
        at = yield merged(at, _look_back(oracle, case, part), index)
    return at


def _look_back(oracle: Oracle, case: Evade, at: Rows) -> Rows:
    ball, state = case.within, at.state
    assert isinstance(ball, Ball)
    reach, miss, back = state["reach"], state["miss"], state["back"]
    missed = miss >= 0
    share = torch.where(missed, (reach + miss) / 2, (reach - back).clamp_min(0.0))
    x = ball.box(shrunk(state["top"], at.origin, share, ball.norm))
    response = oracle.look(x, rows=at.row)
    won = met(at, case, response)
    at = nearer(at, case, response, x, won=won)
    return at.keep(
        reach=torch.where(won, share, reach), miss=torch.where(won, miss, share), back=torch.where(missed, back, 2 * back)
    )


def shrunk(x: Tensor, origin: Tensor, share: Tensor, norm: str) -> Tensor:
    """`x` at that share of its distance: scaled, or for ``linf`` clipped, which gives less away; for ``l0`` the largest."""
    change = x - origin
    if norm == "linf":
        cap = wide(share.to(x.dtype) * change.flatten(1).abs().amax(1), x)
        return origin + change.clamp(-cap, cap)
    if norm == "l0":
        flat = change.flatten(1).abs()
        rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        keep = rank < (share * (flat > 0).sum(1)).round().clamp_min(1)[:, None]
        return torch.where(keep.reshape(x.shape), x, origin)
    return origin + wide(share.to(x.dtype), x) * change
