"""Gradient ascent on the rows of a table: every point is mended to what the world allows before it is asked."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.goal import reached
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.table import Table
from ...core.target import Response
from .._rows import Rows
from ._losses import cross_entropy


@attack(
    "evasion.constrained_pgd",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:2406.00775", "arXiv:2112.01156"),
    aka=("CAPGD", "CPGD", "constrained PGD"),
    within=("Table",),
    spends="restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: a.restarts * (3 * a.steps + 1),
)
class ConstrainedPGD:
    """Climb in units of each column's own width, mend, ask, climb on from there.

    Two points travel with each row: one that moves freely, and its mended form (whole numbers, groups, directions,
    relations, budget), which is what is asked, differentiated and claimed; the slope found there moves the free one. So a
    category can change after several small steps that rounding would each have undone. What cannot be mended is never
    claimed. Inputs are arrays ``(n, d)`` as the model takes them, under a `Table` with names.

    Args:
        steps: Gradient steps of each restart.
        stride: How far the steepest column moves in a step, as a share of its width.
        restarts: Starts; the first from the input itself, the others from random values of the changeable columns.
        momentum: Weight of the direction before.
    """

    steps: int = 30
    stride: float = 0.1
    restarts: int = 4
    momentum: float = 0.75

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        table, loss = case.within, cross_entropy(case)
        if not isinstance(table, Table) or not table.names:
            raise BadInput(f"evasion.constrained_pgd moves in a Table with names; got {type(table).__name__}")
        at = Rows.begin(case)
        widths = torch.as_tensor(_widths(table), dtype=at.x.dtype, device=at.x.device)
        for restart in range(self.restarts):
            loose = at.origin if not restart else _anywhere(table, at, rng, restart)
            at = at.keep(loose=loose, pull=torch.zeros_like(at.x)).at(_mended(table, loose, at.origin))
            for _ in range(self.steps):
                here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss)
                at = _see(at, case, table, here.response, here.loss)
                at = yield self._move(at, table, here.slope.to(at.x.dtype) * widths, widths)
            if len(at):
                response = oracle.look(at.x, rows=at.row)
                at = yield _see(at, case, table, response, at.margin(case, response))
        return at

    def _move(self, at: Rows, table: Table, slope: Tensor, widths: Tensor) -> Rows:
        slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
        steepest = slope.abs().amax(1, keepdim=True).clamp_min(1e-30)
        pull = self.momentum * at.state["pull"] + slope / steepest
        loose = at.state["loose"] + self.stride * widths * pull / pull.abs().amax(1, keepdim=True).clamp_min(1.0)
        loose = _bounded(table, loose, at.origin)
        return at.keep(loose=loose, pull=pull).at(_mended(table, loose, at.origin))


def _widths(table: Table) -> Any:
    """How far each column may go, by its price; 0 for a column that nobody can change."""
    free = table.free
    return np.array([table.columns[n].span / max(table.columns[n].cost, 1e-12) if n in free else 0.0 for n in table.names])


def _ends(table: Table) -> tuple[Any, Any]:
    columns = [table.columns.get(name) for name in table.names]
    return (
        np.array([-np.inf if column is None else column.low for column in columns]),
        np.array([np.inf if column is None else column.high for column in columns]),
    )


def _bounded(table: Table, x: Tensor, origin: Tensor) -> Tensor:
    """Inside every column's domain; a value that began outside may stay where it began."""
    low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in _ends(table))
    return x.clamp(torch.minimum(low, origin), torch.maximum(high, origin))


def _anywhere(table: Table, at: Rows, rng: RowRandom, draw: int) -> Tensor:
    low, high = _ends(table)
    width, origin = _widths(table), at.origin.cpu().numpy().astype(np.float64)
    low, high = (np.where(np.isfinite(end), end, origin + side * width) for side, end in ((-1, low), (1, high)))
    point = low + (high - low) * rng.uniform(at.row, (draw,), (len(table.names),))
    point = np.where(width > 0, point, origin)
    return torch.as_tensor(point, dtype=at.x.dtype, device=at.x.device)


def _mended(table: Table, x: Tensor, origin: Tensor) -> Tensor:
    mended = table.repair(x.cpu().numpy(), origin.cpu().numpy())
    return torch.as_tensor(mended, dtype=x.dtype, device=x.device)


def _see(at: Rows, case: Evade, table: Table, response: Response, loss: Tensor) -> Rows:
    """The best point so far: broken first, then the larger loss, among those that the table allows."""
    valid = torch.as_tensor(table.check(at.x.cpu().numpy(), at.origin.cpu().numpy()), device=at.x.device)
    met = torch.as_tensor(reached(case.goal, response.label, at.y), device=at.x.device) & valid
    loss = torch.where(valid, loss.to(at.loss.dtype), at.loss)
    better = (met & ~at.broken) | (valid & (met == at.broken) & (loss > at.loss))
    return replace(
        at, best=torch.where(better[:, None], at.x, at.best), loss=torch.where(better, loss, at.loss), broken=at.broken | met
    )
