"""Clean-label poison that looks to a network like the input to be misread."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ._nets import Floats, Net, Plan, bases, handed, inside, network, plan

NAME = "poisoning.feature_collision"


@attack(
    "poisoning.feature_collision",
    needs=Need.CONTRIBUTE | Need.DATA,
    case="misread",
    scope="set",
    papers=("arXiv:1804.00792",),
    aka=("poison frogs", "feature collision"),
    spends="floor(fraction x n) records for each input to be misread",
)
class FeatureCollision:
    """Move each record until its features are those of the input to be misread, and it still looks like itself.

    Minimises ``|f(p) - f(t)|^2 + beta |p - b|^2`` with the paper's forward-backward steps: down the slope of the first part,
    then the exact answer to the second, then back within the constraint. A step that leads nowhere is taken back and halved,
    one that serves makes the next longer; the paper's are all alike. Both lengths are shares, of the distance between the
    features and of the range of the data, so that `beta` means the same for every network. Labels stay. Features are those of
    the public parent where the attacker holds one, else of a small network of its own: it works where the victim keeps
    those features, and seldom where it learns its own from the beginning.

    Args:
        beta: How much looking like itself counts.
        steps: Of descent.
        rate: Length of the first step, as a share of the range of the data.
    """

    beta: float = 0.1
    steps: int = 60
    rate: float = 0.02

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not (self.beta >= 0 and self.steps >= 1 and self.rate > 0):
            raise BadInput(f"{NAME}: beta={self.beta!r}, steps={self.steps!r}, rate={self.rate!r}: give numbers above 0")
        of = plan(NAME, oracle, case)
        net, used = network(oracle, of, rng), np.zeros(len(of.y), bool)
        index = [bases(of, net, trial, of.most, used) for trial in range(len(of.goals))]
        made = [self._made(of, net, trial, of.x[own]) for trial, own in enumerate(index)]
        return (yield from handed(oracle, case, of, index, made))

    def _made(self, of: Plan, net: Net, trial: int, base: Floats) -> Floats:
        import torch

        goal = net.body(torch.as_tensor(of.goals[trial : trial + 1])).detach()
        start, width = torch.as_tensor(base), torch.as_tensor(of.high - of.low)
        far = (net.body(start) - goal).square().sum(1).clamp_min(1e-300)
        at, best, slope = start.clone(), start.clone(), torch.zeros_like(start)
        least, length = torch.full((len(base),), torch.inf, dtype=torch.float64), None
        each = (-1, *([1] * (start.ndim - 1)))
        for _ in range(self.steps + 1):
            at = at.detach().requires_grad_(True)
            gap = (net.body(at) - goal).square().sum(1) / far
            (found,) = torch.autograd.grad(gap.sum(), at)
            shift = ((at.detach() - start) / width.clamp_min(1e-300)).flatten(1).square().mean(1)
            total = gap.detach() + self.beta * shift
            nearer = total < least
            best[nearer], slope[nearer], least[nearer] = at.detach()[nearer], found[nearer], total[nearer]
            if length is None:
                length = self.rate / (found * width).flatten(1).abs().amax(1).clamp_min(1e-300)
            else:
                length = length * torch.where(nearer, 1.5, 0.5)
            # The second part is a parabola: where it and the step agree is known, in lengths of the range.
            pull = (2 * self.beta * length / base[0].size).reshape(each)
            moved = best - length.reshape(each) * slope * width**2
            at = inside(of, (moved + pull * start) / (1 + pull), base)
        return np.asarray(best.numpy())
