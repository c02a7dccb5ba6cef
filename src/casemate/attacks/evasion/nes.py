"""Natural evolution strategies: the slope of the loss estimated from scores along Gaussian directions."""

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
    "evasion.nes",
    needs=Need.SCORE | Need.LABEL,
    within=("Ball", "Region"),
    papers=("arXiv:1804.08598",),
    aka=("NES", "natural evolution strategies"),
    spends="steps x (1 + 2 pairs) + 1 queries per row, or what the budget leaves",
    static_cost=lambda a: a.steps * (1 + 2 * a.pairs) + 1,
)
class NES:
    """Estimate the loss's slope from antithetic pairs of Gaussian neighbours, step along it, project, repeat.

    All neighbours of many rows travel in one model call. As published but for this: neighbours of an image differ in its
    low frequencies alone (`low` 1 takes all), what is climbed is the margin (of the logarithm of probabilities), lengths are
    shares of the radius, a row on a plateau looks further away, and one that stopped rising halves its step and goes back to
    its best point.

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
        case = moved_in(case, "evasion.nes", ("linf", "l2"))
        plan = Plan(**parameters(self))

        def noise(row: NDArray[np.int64], step: int, k: int, d: int) -> Tensor:
            found = np.empty((len(row), k, d), np.float32)
            for i, seed in enumerate(rng.bits(row, (step,), 2)):
                # SFC64, seeded from the row's own bits, draws normals many times faster than counted bits become them.
                np.random.Generator(np.random.SFC64(seed.tolist())).standard_normal(dtype=np.float32, out=found[i])
            return torch.as_tensor(found)

        return (yield from ascend(oracle, case, plan, noise))
