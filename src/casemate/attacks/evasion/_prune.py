"""Fewer changed values: what attacks that count them (``l0``) do at the end.

From a row's nearest success the values that contribute least go back, many at once where this works and half as many where
it does not; the others move towards the end of the domain as far as the loss of margin asks for, which costs nothing in
``l0``. A value that cannot go alone is tried once more in exchange: two go back, and the best untouched one comes in.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ...core.target import Slope
from .._rows import Rows
from ._nearest import met, nearer
from ._polish import AIM, clean, lead, wide


def prune(oracle: Oracle, case: Evade, at: Rows, steps: int) -> Generator[Rows, Rows, Rows]:
    """Spend up to `steps` gradients a row on changing fewer values; a row where nothing is left to try spends no more.

    Args:
        at: Rows with the state of `_nearest.begin` and `scale` ``(n,)``, the margin at the input. A row that has no success
            yet moves whole values instead, from where it stands, until it has.

    Yields after each step, for `yield from`.
    """
    ball = case.within
    assert isinstance(ball, Ball)
    if steps <= 0 or not len(at):
        return at
    at = at.keep(drop=torch.ones_like(at.loss), swap=torch.zeros_like(at.broken),
                 fixed=torch.zeros_like(at.x, dtype=torch.bool), out=torch.zeros_like(at.x, dtype=torch.bool))  # fmt: skip
    found = torch.isfinite(at.state["size"])
    at = at.at(torch.where(wide(found, at.x), at.state["near"], at.x))
    first = torch.ones_like(found)
    at = at.keep(first=first)
    for _ in range(steps):
        open_rows = _open(at)
        if not bool(open_rows.any()):
            break
        index = open_rows.nonzero()[:, 0]
        part = at if len(index) == len(at) else at.only(index.cpu().numpy())
        here = oracle.gradient(part.x, y=part.y, rows=part.row, loss=lead(case))
        won, before = met(part, case, here.response), part.state["size"]
        part = nearer(part, case, here.response)
        part = _plan(_judged(part, won & (part.state["size"] < before)), here, ball)
        at = yield part if len(index) == len(at) else merged(at, part, index)
    return at


def merged(at: Rows, part: Rows, index: Tensor) -> Rows:
    """All rows, with those at `index` replaced by `part`."""

    def into(whole: Tensor, new: Tensor) -> Tensor:
        return whole.index_copy(0, index, new)

    state = {name: into(at.state[name], value) if name in at.state else value for name, value in part.state.items()}
    return replace(at, x=into(at.x, part.x), best=into(at.best, part.best), loss=into(at.loss, part.loss),
                   broken=into(at.broken, part.broken), state=state)  # fmt: skip


def _changed(at: Rows) -> Tensor:
    """Values that differ at the nearest success and may still be tried, ``(n, d)``."""
    return ((at.state["near"] != at.origin) & ~at.state["fixed"]).flatten(1)


def _open(at: Rows) -> Tensor:
    """Rows with something left to try."""
    return ~torch.isfinite(at.state["size"]) | ((at.state["size"] > 1) & _changed(at).any(1)) | at.state["first"]


def _judged(at: Rows, better: Tensor) -> Rows:
    """After an answer: more at once, fewer at once, in exchange, or not at all."""
    state = at.state
    drop, swap, first = state["drop"], state["swap"], state["first"]
    alone = ~better & (drop <= 1) & ~first
    fixed = state["fixed"] | (state["out"] & wide(alone & swap, at.x))
    # A first answer is to the nearest success itself, and judges nothing.
    drop = torch.where(first, drop, torch.where(better, drop * 2, (drop / 2).floor().clamp_min(1)))
    return at.keep(fixed=fixed, drop=drop, swap=alone & ~swap, first=torch.zeros_like(first))


def _plan(at: Rows, here: Slope, ball: Ball) -> Rows:
    """The next question of each row, by the latest slope."""
    slope, value = clean(here, at)
    state, found = at.state, torch.isfinite(at.state["size"])
    base = torch.where(wide(found, at.x), state["near"], at.x)
    loses = (slope * (base - at.origin)).flatten(1)
    may = _changed(at) & found[:, None]
    count = torch.where(state["swap"], state["drop"] + 1, state["drop"]).clamp_max(may.sum(1))
    rank = torch.where(may, loses, torch.full_like(loses, torch.inf)).argsort(dim=1, stable=True).argsort(dim=1)
    out = ((rank < count[:, None]) & may).reshape(base.shape)
    left = torch.where(out, at.origin, base)
    end = torch.where(slope > 0, torch.full_like(base, ball.high), torch.full_like(base, ball.low))
    end = ball.box(end)
    gain = (slope * (end - left)).flatten(1).clamp_min(0)
    free = (left != at.origin).flatten(1)
    fresh = ~free & ~out.flatten(1) & ~state["fixed"].flatten(1)
    best = (gain * fresh).argmax(1, keepdim=True)
    entry = torch.zeros_like(free).scatter(1, best, state["swap"][:, None]) & fresh
    free = torch.where(found[:, None], free | entry, torch.ones_like(free))
    need = AIM * state["scale"] * torch.where(found, 1.0, 1000.0) - value - (slope * (left - at.x)).flatten(1).sum(1)
    share = _share(gain * free, need)
    x = torch.where((share > 0).reshape(base.shape), left + share.reshape(base.shape) * (end - left), left)
    # Whole values where there is no success yet: half a move counts as much as a whole one.
    x = torch.where(((share > 0) & ~found[:, None]).reshape(base.shape), end, x)
    return at.at(ball.box(x)).keep(out=out)


def _share(gain: Tensor, need: Tensor) -> Tensor:
    """How far each value goes, largest gain first, until `need` is covered: ``(n, d)`` in [0, 1]."""
    order = gain.argsort(dim=1, descending=True, stable=True)
    gains = gain.gather(1, order)
    part = ((need[:, None] - (gains.cumsum(1) - gains)) / gains.clamp_min(1e-30)).clamp(0, 1)
    return torch.zeros_like(gain).scatter_(1, order, torch.where(gains > 0, part, torch.zeros_like(part)))
