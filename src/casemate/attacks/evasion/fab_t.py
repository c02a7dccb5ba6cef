"""Fast adaptive boundary: steps to the linearised boundary that stay close to the input."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from . import _plane
from ._losses import margin, toward
from ._nearest import ball_of, begin, distance, merged, met, nearer, pull_back, selected, wide
from ._targets import aim, ranked

BEYOND = 2.0**-12  # how far past the linearised boundary the last move of all goes, as a share


@attack(
    "evasion.fab_t",
    needs=Need.GRADIENT | Need.LABEL | Need.SCORE,
    norms=("linf", "l2", "l1"),
    papers=("arXiv:1907.02044", "arXiv:2003.01690"),
    aka=("FAB-T", "FAB", "fast adaptive boundary attack"),
    spends="1 look + targets x steps x (1 gradient, and 1 look or gradient where it crossed) + search per row",
    static_cost=lambda a: 1 + a.targets * 6 * a.steps + a.search + 4,
)
class FABT:
    """Toward each of the highest other logits in turn: project onto its linearised boundary, come back once across.

    A step blends two exact projections onto the plane inside the box: of where the row stands, and, with a weight of at
    most `alpha`, of the input itself. Both overshoot by `eta`. A row that crossed keeps its point where it is the nearest so
    far, and goes back to `beta` of its change.

    The first question about a point is a gradient, which tells the decision too, unless the row crossed in the step
    before: then a look is, because it will probably move back and need the slope elsewhere. So a step costs hardly more
    than its one gradient. After the last target the way back to the input is searched, and the input is projected once
    more onto the boundary at the nearest point: on a linear model that is exact. The paper's own search is three steps
    long, and AutoAttack's code has none.

    A wished class (`Becomes`) is the only aim.

    Args:
        steps: Projections for each target.
        targets: Classes to aim at, the highest other logits of the unchanged input; fewer where there are fewer.
        alpha: The largest weight of the projection of the input itself.
        eta: Factor on every projection, past the boundary where it is over 1.
        beta: The share of its change that a row keeps after crossing.
        search: Looks on the way from the nearest success back to the input.
    """

    steps: int = 100
    targets: int = 9
    alpha: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    search: int = 10

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.fab_t", ("linf", "l2", "l1"))
        at, count = ranked(oracle, case, begin(case), self.targets, "evasion.fab_t")
        at = replace(at, best=at.origin, broken=torch.zeros_like(at.broken), loss=torch.full_like(at.loss, -torch.inf))
        for place in range(count):
            if not bool(_affordable(oracle, at, 2).any()):
                break
            at = at.at(at.origin).keep(crossed=torch.zeros_like(at.broken))
            for _ in range(self.steps):
                # Rows spend unevenly. One that cannot pay for a step waits: it must not end the others.
                part, index = selected(at, _affordable(oracle, at, 2))
                if not len(part):
                    break
                part, lead, slope = self._asked(oracle, case, part, place)
                at = yield merged(at, part.at(self._moved(part, lead, slope, ball)), index)
            if len(at):
                at = yield _seen(oracle, case, at)
        if self.search and len(at):
            at = yield from pull_back(oracle, case, at, self.search, 2.0**-7)
            if len(at):
                at = yield _projected(oracle, case, at)
        return at

    def _asked(self, oracle: Oracle, case: Evade, at: Rows, place: int) -> tuple[Rows, Tensor, Tensor]:
        """Decide where the rows stand, move back those that crossed, and differentiate where they stand then.

        Returns:
            The rows; the aim's lead ``(n,)``; its slope ``(n, *shape)``.
        """
        found = _Found(torch.zeros_like(at.loss), torch.zeros_like(at.x))
        likely, won = at.state["crossed"], torch.zeros_like(at.broken)
        for which, ask in ((~likely, self._slopes), (likely, _decisions)):
            part = _part(at, which)
            if len(part):
                won[which] = ask(oracle, case, part, which, found, place)
        if not bool(won.any() | likely.any()):
            return at.keep(crossed=won), found.lead, found.slope
        at = _nearest(at, case, won)
        kept = torch.where(won, self.beta, 1.0).to(at.x.dtype)
        at = at.at(at.origin.lerp(at.x, wide(kept, at.x))).keep(crossed=won)
        again = won | likely
        self._slopes(oracle, case, _part(at, again), again, found, place)
        return at, found.lead, found.slope

    def _slopes(self, oracle: Oracle, case: Evade, at: Rows, which: Tensor, found: _Found, place: int) -> Tensor:
        """Differentiate the lead of the rows' aims; which of them met the goal."""
        here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=toward(case, aim(at, place), ratio=False))
        found.lead[which] = here.loss.to(at.loss.dtype)
        found.slope[which] = here.slope.to(at.x.dtype)
        return met(at, case, here.response)

    def _moved(self, at: Rows, lead: Tensor, slope: Tensor, ball: Ball) -> Tensor:
        x, start = at.x.flatten(1), at.origin.flatten(1)
        lead, way = _finite(lead, slope.flatten(1))
        near = _plane.onto(x, way, lead, ball)
        far = _plane.onto(start, way, lead + (way * (start - x)).sum(1), ball)
        here, there = _plane.size(near, ball.norm), _plane.size(far, ball.norm)
        share = (here / (here + there).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(self.alpha)[:, None]
        near = near.mul_(self.eta).add_(x)
        to = near.lerp_(far.mul_(self.eta).add_(start), share)
        return torch.as_tensor(ball.box(to.reshape(at.x.shape)))


@dataclass(frozen=True, slots=True)
class _Found:
    """What the calls of one step fill in, row by row."""

    lead: Tensor
    slope: Tensor


def _nearest(at: Rows, case: Evade, won: Tensor) -> Rows:
    """`nearer` for rows that are known to have met the goal, at the price of those that came nearer."""
    ball = case.within
    assert isinstance(ball, Ball)
    index = won.nonzero()[:, 0]
    size = distance(at.x[index], at.origin[index], ball.norm)
    closer = size < at.state["size"][index]
    index, size = index[closer], size[closer]
    if not len(index):
        return at
    x = at.x[index]
    at = at.keep(near=at.state["near"].index_copy(0, index, x), size=at.state["size"].index_copy(0, index, size))
    at = replace(at, loss=at.loss.index_copy(0, index, -size.to(at.loss.dtype)))
    inside = torch.isfinite(size) & (size <= ball.radius * (1 + 1e-9) + 1e-12)  # as `Ball.check` counts
    if not bool(inside.any()):
        return at
    index = index[inside]
    return replace(at, best=at.best.index_copy(0, index, x[inside]), broken=at.broken.index_fill(0, index, True))


def _part(at: Rows, which: Tensor) -> Rows:
    return at if bool(which.all()) else at.only(which.cpu().numpy())


def _decisions(oracle: Oracle, case: Evade, at: Rows, which: Tensor, found: _Found, place: int) -> Tensor:
    """Which rows meet the goal, by a look."""
    return met(at, case, oracle.look(at.x, rows=at.row))


def _finite(lead: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Rows whose numbers are not finite do not move."""
    if bool(torch.isfinite(slope.sum() + lead.sum())):
        return lead, slope
    good = torch.isfinite(slope).all(1) & torch.isfinite(lead)
    return torch.where(good, lead, 0.0), torch.where(good[:, None], slope, 0.0)


def _affordable(oracle: Oracle, at: Rows, gradients: int) -> Tensor:
    """Which rows can pay for so many more gradients and a look, ``(n,)``."""
    cap = oracle.adversary.budget.gradients_per_row
    can = oracle.left(at.row) >= 1
    if cap is not None:
        spent = oracle.spent("gradients", at.row) + oracle.spent("backwards", at.row)
        can &= spent + gradients <= cap
    return torch.as_tensor(can, device=at.x.device)


def _seen(oracle: Oracle, case: Evade, at: Rows) -> Rows:
    """Look at where the last move led."""
    moved = (at.x != at.origin).flatten(1).any(1)
    part, index = selected(at, moved & _affordable(oracle, at, 0))
    return merged(at, nearer(part, case, oracle.look(part.x, rows=part.row)), index) if len(part) else at


def _projected(oracle: Oracle, case: Evade, at: Rows) -> Rows:
    """Project the input onto the boundary as it is at the nearest success, and look there."""
    ball = case.within
    assert isinstance(ball, Ball)
    size = at.state["size"]
    part, index = selected(at, torch.isfinite(size) & (size > 0) & _affordable(oracle, at, 1))
    if not len(part):
        return at
    near = part.state["near"]
    here = oracle.gradient(near, y=part.y, rows=part.row, loss=margin(case))
    start = part.origin.flatten(1)
    lead, way = _finite(here.loss.to(near.dtype), here.slope.to(near.dtype).flatten(1))
    move = _plane.onto(start, way, lead + (way * (start - near.flatten(1))).sum(1), ball)
    x = torch.as_tensor(ball.box(part.origin + (move * (1 + BEYOND)).reshape(near.shape)))
    part = nearer(part, case, oracle.look(x, rows=part.row), x)
    return merged(at, part, index)
