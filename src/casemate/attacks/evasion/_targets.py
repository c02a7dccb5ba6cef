"""Which classes a targeted attack aims at, row by row."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.case import Evade
from ...core.errors import BadInput
from ...core.goal import Becomes, Routed, Wrong
from ...core.oracle import Oracle
from .._rows import Rows


def ranked(oracle: Oracle, case: Evade, at: Rows, most: int, name: str) -> tuple[Rows, int]:
    """Look at the inputs, and keep the classes to aim at, likeliest first: state `aims` ``(n, k)``.

    Where the goal asks for any other decision these are the `most` highest other logits, or as many as there are; where it
    names one, that alone. A goal without classes, and a loss of the case's own, leave one aim that stands for it.

    Returns:
        The rows, with what was seen, and k.
    """
    response = oracle.look(at.x, rows=at.row)
    at = at.see(case, response)
    if case.loss is not None or not isinstance(case.goal, Wrong | Routed | Becomes):
        return at.keep(aims=at.y[:, None]), 1
    if isinstance(case.goal, Becomes):
        return at.keep(aims=torch.full_like(at.y, case.goal.target)[:, None]), 1
    shown = response.logits if response.logits is not None else response.scores
    if shown is None or shown.ndim != 2 or shown.shape[1] < 2:
        raise BadInput(f"{name} aims at other classes; got outputs of shape {None if shown is None else tuple(shown.shape)}")
    others = torch.as_tensor(shown).scatter(1, at.y.reshape(-1, 1).long(), -torch.inf)
    count = max(1, min(most, others.shape[1] - 1))
    if isinstance(case.goal, Routed) and case.goal.to:  # nothing but these would do
        wished = torch.full_like(others, -torch.inf)
        routes = torch.tensor([route for route in case.goal.to if route >= 0], device=others.device)
        others = wished.index_copy(1, routes, others[:, routes])
        count = max(1, min(count, len(routes)))
    return at.keep(aims=others.argsort(dim=1, descending=True, stable=True)[:, :count]), count


def aim(at: Rows, place: int) -> Tensor:
    """The class each row aims at, ``(n,)``."""
    return at.state["aims"][:, place]
