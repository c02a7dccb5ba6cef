"""One record of row tensors: all the state of an attack that works on many rows at once.

Everything that belongs to a row is a tensor whose first axis is the rows, and lives here, so that when finished rows leave
nothing can fall out of line. The contract in `casemate.testing` shuffles rows between yields to prove it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.case import Evade
from ..core.errors import BadInput
from ..core.goal import reached
from ..core.random import Draw, RowRandom
from ..core.target import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows in flight.

    Args:
        row: Their ids ``(n,)``: the keys of randomness and of the ledger.
        x: Where each stands ``(n, *shape)``.
        origin: Where each began.
        y: What is true of each ``(n,)``.
        best: The best input so far; `loss` and `broken` are what was seen there.
        state: Further row tensors, by name, of the attack's own.
    """

    row: NDArray[np.int64]
    x: Tensor
    origin: Tensor
    y: Tensor
    best: Tensor
    loss: Tensor
    broken: Tensor
    state: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def begin(case: Evade, x: Tensor | None = None) -> Rows:
        """All rows of a case at their origins (or at `x`), nothing seen yet."""
        origin = tensor(case.x)
        y = torch.as_tensor(np.asarray(case.y), device=origin.device)
        return Rows(
            row=np.asarray(case.row), x=origin if x is None else x, origin=origin, y=y, best=origin,
            loss=torch.full((len(origin),), -torch.inf, dtype=origin.dtype, device=origin.device),
            broken=torch.zeros(len(origin), dtype=torch.bool, device=origin.device),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.row)

    def only(self, keep: NDArray[Any]) -> Rows:
        """The rows `keep` (booleans or indices) selects, with all their state."""
        index = torch.as_tensor(np.flatnonzero(keep) if keep.dtype == bool else keep, device=self.x.device)
        return Rows(
            row=self.row[index.cpu().numpy()], x=self.x[index], origin=self.origin[index], y=self.y[index],
            best=self.best[index], loss=self.loss[index], broken=self.broken[index],
            state={name: value[index] for name, value in self.state.items()},
        )  # fmt: skip

    def at(self, x: Tensor) -> Rows:
        """The same rows, standing at `x`."""
        return replace(self, x=x)

    def keep(self, **state: Tensor) -> Rows:
        """The same rows with some of the attack's own state replaced."""
        return replace(self, state={**self.state, **state})

    def see(self, case: Evade, response: Response, loss: Tensor | None = None, at: Tensor | None = None) -> Rows:
        """Take in what was answered at `at` (by default `x`): the best is the broken first, then the larger loss."""
        here = self.x if at is None else at
        met = torch.as_tensor(reached(case.goal, response.label, self.y), device=self.x.device)
        if loss is None:
            loss = self.margin(case, response)
        loss = torch.as_tensor(loss, dtype=self.loss.dtype, device=self.x.device)
        better = (met & ~self.broken) | ((met == self.broken) & (loss > self.loss))
        # Comparing with NaN is false, so a row whose loss is not a number never becomes the best.
        return replace(
            self,
            best=self._better(better, here),
            loss=torch.where(better, loss, self.loss),
            broken=self.broken | met,
        )

    def _better(self, better: Tensor, here: Tensor) -> Tensor:
        """The best inputs with the better rows taken from `here`; no copy where all rows are, or none is."""
        if bool(better.all()):
            return here
        if not bool(better.any()):
            return self.best
        won = better.nonzero()[:, 0]  # by index: a masked copy of images costs ten times as much
        return self.best.index_copy(0, won, here[won].to(self.best.dtype))

    def margin(self, case: Evade, response: Response) -> Tensor:
        """The goal's own loss on the finest scores shown; zero or one where only labels are."""
        shown = response.logits if response.logits is not None else response.scores
        if shown is None:
            return torch.as_tensor(reached(case.goal, response.label, self.y), dtype=self.loss.dtype)
        return torch.as_tensor(case.goal.loss(shown, self.y if isinstance(shown, Tensor) else self.y.cpu().numpy()))

    def uniform(self, rng: RowRandom, draw: Draw) -> Tensor:
        """Uniform on (0, 1) in the shape of `x`, from each row's own stream."""
        return torch.as_tensor(rng.uniform(self.row, draw, tuple(self.x.shape[1:])), dtype=self.x.dtype, device=self.x.device)


def started(case: Evade) -> Tensor | None:
    """Where the case wishes its rows to begin, inside the constraint and in the precision of the inputs; None where it says
    nothing."""
    if case.start is None:
        return None
    origin = tensor(case.x)
    start = tensor(case.start).to(origin)
    return start if not hasattr(case.within, "project") else torch.as_tensor(case.within.project(start, origin))


def tensor(x: Any) -> Tensor:
    """An array as a tensor, without a copy where there need be none."""
    if isinstance(x, Tensor):
        return x.detach()
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise BadInput(f"this attack changes numbers, and the inputs are {array.dtype}; use an attack for that modality")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    return torch.as_tensor(array if array.flags.writeable else array.copy())
