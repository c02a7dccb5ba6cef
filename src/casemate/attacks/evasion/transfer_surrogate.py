"""Transfer from a replica: ask, train a stand-in on the answers, climb it, and try what fools it on the endpoint."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade, Inputs
from ...core.constraint import NORMS, Ball
from ...core.errors import BadInput, BudgetSpent, NotGranted, Refused
from ...core.goal import Becomes, reached
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Response, count, take, to_numpy
from .._questions import replies
from .._rows import tensor
from ._own import STAND_IN, ball_of
from ._surrogate import Surrogate, fresh, indices, told, train
from .transfer import Transfer


@attack(
    "evasion.transfer_surrogate",
    needs=Need.LABEL,
    scope="set",
    papers=("arXiv:1602.02697", "arXiv:1605.07277", "arXiv:1609.02943"),
    aka=("replicated surrogate", "substitute model", "proxy via replication", "Papernot black box"),
    spends="at most queries per row: a share of them teaches the stand-in, the rest are tries",
    static_cost=lambda a: a.queries,
)
class TransferSurrogate:
    """Build a stand-in from answers of the endpoint, then climb it; every try that fails teaches it too.

    It sees all rows at once (a set attack): what is learned from a question serves every row, and questions are charged to
    the rows evenly. Asked are rows of the data the attacker holds, where it holds any, and points made from its own inputs:
    mixed with each other and shaken by about a radius. Scores, where shown, are learned as soft labels. After the last try
    the rows that stand are handed in where the stand-in, with all it learned, sees them fall: nobody was asked there.

    Unlike the paper's, new questions are where the stand-in was fooled inside the ball, which serves as a try as well,
    instead of one step along its Jacobian. The trainer of `extraction.learning` is another: its models have no slopes.

    Args:
        queries: Most queries for each row, questions and tries together.
        share: Share of them, in [0, 1], that teach the stand-in before the first try; with 1 nothing is tried.
        method: How it is climbed: a preset of `evasion.transfer`, such as ``MI``, ``DI`` or ``VMI``.
        steps: Gradient steps on the stand-in for each try.
        width: Size of the stand-in: channels of its first convolution; without pictures, an eighth of a layer's units.
        members: Stand-ins trained apart and climbed together, by the mean of their logits.
        epochs: How often training goes through the answers; a third as often after each try.
    """

    queries: int = 60
    share: float = 0.95
    method: str = "MI"
    steps: int = 10
    width: int = 16
    members: int = 1
    epochs: int = 8

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Inputs, None, Inputs]:
        climb, notes = Transfer.named(self.method, steps=self.steps), _Notes.of(case)
        if not 0 <= self.share <= 1:
            raise BadInput(f"share={self.share!r} is not allowed; give a share of the queries in [0, 1]")
        each = self._each(oracle, case)
        tries = min(each, round((1 - self.share) * each)) if each > 1 else 0
        early = self._learn(oracle, case, notes, (each - tries) * len(case), rng.fork(1))
        stand_in = Surrogate(fresh(notes.shape, notes.classes, self.width, self.members, rng.fork(2)), *notes.domain)
        claim, broken = tensor(case.x).clone(), np.zeros(len(case), bool)
        for attempt in range(tries + 1):
            epochs = self.epochs if attempt == 0 else max(1, self.epochs // 3)
            train(stand_in.net, stand_in.unit(notes.x), notes.shares, epochs, rng.fork(3, attempt))
            open_ = np.flatnonzero(~broken)
            claim[torch.as_tensor(open_)] = self._crafted(climb, stand_in, case.only(open_), rng.fork(4, attempt))
            if early is None and attempt < tries:
                early = _tried(oracle, case, notes, claim, broken, open_)
            yield Inputs(x=claim.clone(), broken=broken.copy())
            if early is not None:
                raise early
            if broken.all():
                break
        return Inputs(x=claim, broken=broken)

    def _each(self, oracle: Oracle, case: Evade) -> int:
        """Queries for each row, the same for all."""
        left = min(float(oracle.left(case.row).min(initial=np.inf)), oracle.affordable // max(1, len(case)), self.queries)
        if left < 1:
            raise BudgetSpent(f"fewer than one query for each of {len(case)} rows: nothing to learn from")
        return int(left)

    def _learn(
        self, oracle: Oracle, case: Evade, notes: _Notes, size: int, rng: RowRandom
    ) -> BudgetSpent | Refused | None:
        """Ask `size` questions; why it ended early, where it did."""
        x = _questions(oracle, case, size, rng)
        ids = np.resize(case.row, size)  # evenly: question j is charged to row j modulo n
        try:
            for reply in replies(oracle, x, ids):
                notes.take(take(x, reply.places), reply.response)
        except (BudgetSpent, Refused) as stopped:
            if not notes.answers:
                raise
            return stopped
        return None

    def _crafted(self, climb: Transfer, stand_in: Surrogate, case: Evade, rng: RowRandom) -> Tensor:
        at = climb.begin(case)
        for step in range(1, climb.steps + 1):
            at = climb.move(stand_in, case, at, rng, step)
        return at.x


def _tried(
    oracle: Oracle, case: Evade, notes: _Notes, claim: Tensor, broken: NDArray[np.bool_], open_: NDArray[np.int64]
) -> BudgetSpent | Refused | None:
    """Ask the endpoint about the open rows' claims, and learn from what it says; who fell is set in `broken`."""
    asked = claim[torch.as_tensor(open_)]
    try:
        for reply in replies(oracle, asked, case.row[open_]):
            places = open_[reply.places]
            broken[places] = reached(case.goal, reply.response.label, take(case.y, places))
            notes.take(asked[torch.as_tensor(reply.places)], reply.response)
    except (BudgetSpent, Refused) as stopped:
        return stopped
    return None


@dataclass
class _Notes:
    """What the attacker knows by now: inputs and what was said of them. It begins with its own inputs and their truths."""

    shape: tuple[int, ...]
    domain: tuple[float, float]
    classes: int
    x: Tensor
    shares: Tensor
    answers: int = field(default=0)

    @staticmethod
    def of(case: Evade) -> _Notes:
        ball, x = ball_of(case, "evasion.transfer_surrogate", NORMS, STAND_IN), tensor(case.x)
        y = indices(case.y, "the truth of a row")
        wished = case.goal.target if isinstance(case.goal, Becomes) else 0
        classes = 1 + max(1, wished, int(y.max(initial=0)))
        shares = functional.one_hot(torch.as_tensor(y).clamp_min(0), classes).float()
        return _Notes(tuple(x.shape[1:]), (ball.low, ball.high), classes, x.double(), shares)

    def take(self, x: Any, response: Response) -> None:
        """Add answers; inputs that were rejected say nothing of classes."""
        shown = response.logits if response.logits is not None else response.scores
        widest = 0 if shown is None else shown.shape[1]
        labels = indices(response.label, "an answer")
        self.classes = max(self.classes, widest, int(labels.max(initial=0)) + 1)
        keep = np.flatnonzero(labels >= 0)
        self.answers += len(labels)
        self.x = torch.cat([self.x, torch.as_tensor(to_numpy(take(x, keep)), dtype=torch.float64)])
        wide = functional.pad(self.shares, (0, self.classes - self.shares.shape[1]))
        self.shares = torch.cat([wide, told(response.only(keep), self.classes)])


def _questions(oracle: Oracle, case: Evade, size: int, rng: RowRandom) -> NDArray[Any]:
    """Inputs to ask about ``(size, *shape)``: data the attacker holds, and its own inputs mixed and shaken."""
    origin, held = np.asarray(to_numpy(tensor(case.x))), _held(oracle, case)
    own = size - min(len(held), size // 2)
    ball = case.within
    assert isinstance(ball, Ball)
    lot, span = rng.generator(0), ball.high - ball.low
    unit = (origin.astype(np.float64) - ball.low) / span
    first, second = np.arange(own) % len(unit), lot.integers(0, len(unit), own)
    weight = lot.uniform(0, 0.5, own).reshape(-1, *([1] * (unit.ndim - 1)))
    reach = min(ball.radius / span, 0.5)
    if ball.norm != "linf":  # the same length, spread over all values
        reach *= np.sqrt(3 / max(1, unit[0].size))
    shaken = 2 * reach * lot.uniform(-1, 1, (own, *unit.shape[1:]))
    mixed = np.clip((1 - weight) * unit[first] + weight * unit[second] + shaken, 0, 1)
    made = np.asarray(ball.box((ball.low + span * mixed).astype(origin.dtype)))
    drawn = held[lot.choice(len(held), size - own, replace=False)] if len(held) else held
    # The order is mixed: a budget that ends early ends both kinds.
    return np.concatenate([made, drawn.astype(origin.dtype)])[lot.permutation(size)]


def _held(oracle: Oracle, case: Evade) -> NDArray[Any]:
    """Inputs of the data the attacker holds, of the attacked shape; none where it holds none."""
    shape = np.shape(to_numpy(tensor(case.x)))[1:]
    nothing = np.zeros((0, *shape))
    if not oracle.granted(Need.DATA):
        return nothing
    try:
        x = np.asarray(to_numpy(oracle.data[0]))
    except NotGranted:  # granted, and nothing bound
        return nothing
    return x if x.shape[1:] == shape and x.dtype.kind in "fiub" and count(x) else nothing
