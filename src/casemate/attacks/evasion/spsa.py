"""Simultaneous perturbation: the slope of the loss estimated from scores along random signs."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack, parameters
from ...core.case import Evade
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._own import moved_in
from ._probes import Plan, ascend


@attack(
    "evasion.spsa",
    needs=Need.SCORE | Need.LABEL,
    within=("Ball", "Region"),
    papers=("arXiv:1802.05666",),
    aka=("SPSA", "simultaneous perturbation stochastic approximation"),
    spends="steps x (1 + 2 pairs) + 1 queries per row, or what the budget leaves",
    static_cost=lambda a: a.steps * (1 + 2 * a.pairs) + 1,
)
class SPSA:
    """Estimate the loss's slope from pairs of neighbours along random signs, step along it, project, repeat.

    Of a vector, every value of a neighbour moves by the same length, one way or the other; of an image, every low frequency
    (`low` 1 takes values instead). As published but for that, and this: lengths are shares of the radius, steps follow the
    sign of the averaged slope (``l2``: its direction) where the paper takes Adam's, a row on a plateau looks further away, and
    one that stopped rising halves its step and goes back to its best point.

    Args:
        steps: Moves, each along one estimate.
        pairs: Pairs of neighbours of each estimate.
        sigma: How far a neighbour lies, as a share of the radius: along each value for ``linf``, as a whole for ``l2``.
        stride: Length of a move as a share of the radius.
        memory: Weight of the earlier estimates in the next one, in [0, 1).
        low: Share of the frequencies of an image, along each axis, that neighbours differ in, in (0, 1]; vectors have all.
    """

    steps: int = 200
    pairs: int = 15
    sigma: float = 0.1
    stride: float = 0.5
    memory: float = 0.9
    low: float = 0.4

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case = moved_in(case, "evasion.spsa", ("linf", "l2"))
        plan = Plan(**parameters(self))

        def noise(row: NDArray[np.int64], step: int, k: int, d: int) -> Tensor:
            words = rng.bits(row, (step,), -(-k * d // 64))
            bits = np.unpackbits(words.view(np.uint8), axis=1, count=k * d)
            return torch.as_tensor(bits).to(torch.float32).mul_(2).sub_(1).reshape(len(row), k, d)

        return (yield from ascend(oracle, case, plan, noise))
