"""Clean-label poison that teaches what the attacker wants: its training slopes point that way."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ._nets import Floats, Net, Plan, bases, handed, inside, network, plan

NAME = "poisoning.gradient_matching"


@attack(
    "poisoning.gradient_matching",
    needs=Need.CONTRIBUTE | Need.DATA,
    case="misread",
    scope="set",
    papers=("arXiv:2009.02276",),
    aka=("witches' brew", "gradient matching"),
    spends="floor(fraction x n) records for each input to be misread",
)
class GradientMatching:
    """Move records until training on them pulls a network as training on the wanted misreading would.

    Maximises the cosine between the slope of the records' own loss in the weights and the slope of the loss of the input
    under the wanted class, with the signs of Adam's steps, within the constraint, from several random starts at a network
    trained on clean data that stays as it is; the best start is handed in. Labels stay. The paper matches the slopes of all
    weights, augments pictures and trains networks of the victim's kind. Here it is the last layer's weights, whose slopes are
    a product of errors and features, of the public parent's features with a head of its own, else of a small network: cheap,
    and weaker against a victim that learns all its layers anew.

    Args:
        steps: Of Adam's signs, for each start.
        restarts: Starts: the records as they are, then random ones within the constraint.
        rate: Length of a step, as a share of the range of the data; it shrinks tenfold at 3/8, 5/8 and 7/8 of the way.
    """

    steps: int = 60
    restarts: int = 1
    rate: float = 0.03

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not (self.steps >= 1 and self.rate > 0):
            raise BadInput(f"{NAME}: steps={self.steps!r}, rate={self.rate!r}: give numbers above 0")
        of = plan(NAME, oracle, case)
        net, used = network(oracle, of, rng), np.zeros(len(of.y), bool)
        index = [bases(of, net, trial, of.most, used) for trial in range(len(of.goals))]
        made = [self._made(of, net, trial, of.x[own], own, rng) for trial, own in enumerate(index)]
        return (yield from handed(oracle, case, of, index, made))

    def _made(self, of: Plan, net: Net, trial: int, base: Floats, own: NDArray[np.int64], rng: RowRandom) -> Floats:
        import torch

        wanted = _slope(net, torch.as_tensor(of.goals[trial : trial + 1]), int(of.to[trial]))
        found = [self._climbed(of, net, int(of.to[trial]), wanted, base, self._start(of, base, own, rng.fork(trial, turn), turn))
                 for turn in range(self.restarts)]  # fmt: skip
        return max(found, key=lambda one: one[0])[1]

    def _start(self, of: Plan, base: Floats, own: NDArray[np.int64], rng: RowRandom, turn: int) -> Any:
        import torch

        if not turn:
            return torch.as_tensor(base).clone()
        noise = rng.uniform(own, 0, base.shape[1:]) - 0.5
        return inside(of, torch.as_tensor(base + 0.2 * (of.high - of.low) * noise), base)

    def _climbed(self, of: Plan, net: Net, to: int, wanted: Any, base: Floats, at: Any) -> tuple[float, Floats]:
        import torch

        width, best, most = torch.as_tensor(of.high - of.low), at.clone(), -2.0
        mean, square = torch.zeros_like(at), torch.zeros_like(at)
        for step in range(1, self.steps + 2):
            at = at.detach().requires_grad_(True)
            cosine = torch.nn.functional.cosine_similarity(_slope(net, at, to), wanted, dim=0)
            (slope,) = torch.autograd.grad(cosine, at)
            if float(cosine.detach()) > most:
                best, most = at.detach().clone(), float(cosine.detach())
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            move = ((mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-12)).sign()
            rate = self.rate * 0.1 ** sum(step > part * self.steps / 8 for part in (3, 5, 7))
            at = inside(of, at.detach() + rate * width * move, base)
        return most, np.asarray(best.numpy())


def _slope(net: Net, x: Any, label: int) -> Any:
    """The slope of the mean cross-entropy in the last layer's weights, as a vector that can itself be differentiated in `x`.

    For a dense layer it is the outer product of the errors of the scores and the features: no second backward pass is needed.
    """
    import torch

    features = net.body(x)
    error = torch.softmax(net.head(features), 1) - torch.nn.functional.one_hot(torch.tensor(label), net.head.out_features)
    return torch.cat([(error.T @ features).flatten(), error.sum(0)]) / len(x)
