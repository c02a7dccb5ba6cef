"""Transfer from similar data: train a stand-in on data like the deployed model's, and never ask until the end."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import NORMS, Ball
from ...core.errors import BadInput
from ...core.goal import Becomes
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from .._rows import Rows, tensor
from ._own import STAND_IN, ball_of
from ._surrogate import Surrogate, fresh, indices, train
from .transfer import Transfer

_TRAINED: dict[str, torch.nn.Module] = {}  # the last stand-in, by what decides it: shards and health checks share it


@attack(
    "evasion.transfer_similar",
    needs=Need.DATA | Need.LABEL,
    papers=("arXiv:1605.07277", "arXiv:1312.6199", "arXiv:1809.02861"),
    aka=("surrogate from public data", "proxy from gathered data", "cross-training-set transfer"),
    spends="at most tries queries per row; training and steps gradients on a network of the attacker's own",
    static_cost=lambda a: a.tries,
)
class TransferSimilar:
    """Train networks on data the attacker holds, climb them, and try where they fell on the deployed endpoint.

    The endpoint is asked about nothing but the tries: how many rows fall tells how much alike models become that learned the
    same task, and how that hangs on the size of the stand-in (`width`). A run that works in several shards trains the same
    stand-in in each.

    Args:
        method: How it is climbed: a preset of `evasion.transfer`, such as ``MI``, ``DI`` or ``VMI``.
        steps: Gradient steps on the stand-in.
        check_every: Steps between tries; the last point is tried too.
        tries: Most queries of each row.
        width: Size of the stand-in: channels of its first convolution; without pictures, an eighth of a layer's units.
        members: Stand-ins trained apart and climbed together, by the mean of their logits.
        epochs: How often training goes through the data.
        most: Most rows of the data that are used, drawn at random.
        training_seed: Of the stand-in's weights and of the order it learns in; the seed of the run decides the rest.
    """

    method: str = "MI"
    steps: int = 20
    check_every: int = 10
    tries: int = 2
    width: int = 16
    members: int = 1
    epochs: int = 10
    most: int = 2000
    training_seed: int = 0

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        climb = Transfer.named(self.method, steps=self.steps, check_every=self.check_every, tries=self.tries)
        ball_of(case, "evasion.transfer_similar", NORMS, STAND_IN)  # before anything is trained
        stand_in = self.trained(oracle, case)
        return (yield from climb.climb(stand_in, oracle, case, rng))

    def trained(self, oracle: Oracle, case: Evade) -> Surrogate:
        """The stand-in: of the data and its own seed alone, whatever rows are attacked, so it is trained once in a process."""
        rng = RowRandom(self.training_seed)
        ball, (x, y) = case.within, oracle.data
        assert isinstance(ball, Ball)
        few = np.arange(count(x))
        if len(few) > self.most:
            few = np.sort(rng.generator(0).choice(len(few), self.most, replace=False))
        seen, labels = tensor(to_numpy(take(x, few))), indices(take(np.asarray(to_numpy(y)), few), "the label of a training row")
        shape = tuple(tensor(case.x).shape[1:])
        if tuple(seen.shape[1:]) != shape:
            found = tuple(seen.shape[1:])
            raise BadInput(f"evasion.transfer_similar trains on inputs of the attacked shape {shape}; the data have {found}")
        wished = case.goal.target if isinstance(case.goal, Becomes) else 0
        classes = 1 + max(int(labels.max(initial=1)), wished, self._largest(case))
        stand_in = Surrogate(fresh(shape, classes, self.width, self.members, rng), ball.low, ball.high)
        unit = stand_in.unit(seen)
        known = hashlib.sha256(unit.numpy().tobytes() + np.asarray(labels).tobytes())
        key = f"{known.hexdigest()} {shape} {classes} {self!r}"
        if key not in _TRAINED:
            shares = functional.one_hot(torch.as_tensor(labels), classes).float()
            net = train(stand_in.net, unit, shares, self.epochs, rng.fork(2))
            _TRAINED.clear()  # one at a time: the next attack has other data
            _TRAINED[key] = net
        return replace(stand_in, net=_TRAINED[key])

    def _largest(self, case: Evade) -> int:
        """The largest class among the attacked rows."""
        return int(indices(case.y, "the truth of a row").max(initial=0))
