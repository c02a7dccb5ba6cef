"""Clean-label poison whose features have the input to be misread in their middle."""

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

NAME = "poisoning.bullseye"


@attack(
    "poisoning.bullseye",
    needs=Need.CONTRIBUTE | Need.DATA,
    case="misread",
    scope="set",
    papers=("arXiv:2005.00191",),
    aka=("bullseye polytope",),
    spends="floor(fraction x n) records for each input to be misread",
)
class Bullseye:
    """Move all records of a campaign together until the mean of their features is that of the input to be misread.

    Minimises ``|mean f(p_j) - f(t)|^2 / |f(t)|^2`` with Adam, within the constraint; labels stay. What is in the middle of
    records of one class is given that class by most heads trained on these features, more surely than what lies at a corner
    (`poisoning.feature_collision`). The paper adds networks with dropout; here it is one, the public parent's features where
    the attacker holds it, else those of a small network of its own.

    Args:
        steps: Of Adam.
        rate: Of Adam, as a share of the range of the data.
    """

    steps: int = 80
    rate: float = 0.03

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not (self.steps >= 1 and self.rate > 0):
            raise BadInput(f"{NAME}: steps={self.steps!r}, rate={self.rate!r}: give numbers above 0")
        of = plan(NAME, oracle, case)
        net, used = network(oracle, of, rng), np.zeros(len(of.y), bool)
        index = [bases(of, net, trial, of.most, used) for trial in range(len(of.goals))]
        made = [self._made(of, net, trial, of.x[own]) for trial, own in enumerate(index)]
        return (yield from handed(oracle, case, of, index, made))

    def _made(self, of: Plan, net: Net, trial: int, base: Floats) -> Floats:
        import torch

        goal = net.body(torch.as_tensor(of.goals[trial : trial + 1])).detach()[0]
        width = torch.as_tensor(of.high - of.low)
        at = torch.as_tensor(base).clone()
        mean, square = torch.zeros_like(at), torch.zeros_like(at)
        best, least = at.clone(), torch.inf
        for step in range(1, self.steps + 2):
            at = at.detach().requires_grad_(True)
            loss = (net.body(at).mean(0) - goal).square().sum() / goal.square().sum().clamp_min(1e-300)
            (slope,) = torch.autograd.grad(loss, at)
            if float(loss.detach()) < float(least):
                best, least = at.detach().clone(), loss.detach()
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            move = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-12)
            at = inside(of, at.detach() - self.rate * width * move, base)
        return np.asarray(best.numpy())
