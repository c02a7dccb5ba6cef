"""Keep a cascade unsure, so that every input goes the whole way."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.availability import Heavy, Sponge
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import to_numpy
from ._herd import Herd
from ._inputs import Made, Pool, bounds, pool_of

LAST = 0.01  # the last step, as a share of the first: a narrow band of doubt is not stepped over for ever


@attack(
    "availability.slow_exit",
    needs=Need.SUBMIT | Need.GRADIENT,
    scope="set",
    case="sponge",
    papers=("arXiv:2010.02432",),
    aka=("DeepSloth", "early-exit slowdown"),
    spends="1 gradient per step and input",
    modality=("array",),
)
class SlowExit:
    """Push the confidence of whoever decides below its threshold, stage after stage.

    A cascade hands on what its first model is not sure of, and a network with early exits goes on where an exit is not.
    So what is climbed is the doubt of the answer given: as long as a stage decides, its own confidence falls; once it hands
    on, that of the next. The paper fits all exits to an even answer at once; here only the one that decides has to give way,
    which needs a smaller change.

    Args:
        steps: Steps up the slope, at least 1.
        size: The first of them, as a share of the radius (of the domain where there is no ball); the last is a hundredth of it.
    """

    steps: int = 30
    size: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.size <= 2:
            raise BadInput(f"availability.slow_exit: size={self.size!r} is not allowed; give a share above 0, at most 2")

    def __call__(self, oracle: Oracle, case: Sponge, *, rng: RowRandom) -> Generator[Heavy | None, None, Heavy | None]:
        pool = pool_of(case, rng.generator(0))
        if type(pool) is not Pool:
            raise BadInput(f"availability.slow_exit climbs in arrays of numbers; got {type(case.x).__name__}")
        herd = Herd(oracle, case, pool, case.inputs)
        at = pool.first(max(1, min(4 * case.inputs, case.asks // (self.steps + 1))))
        herd.ask(at)
        yield herd.claim()
        for step in range(self.steps):
            if not herd.left or self._done(case, herd):
                break
            at = self._stepped(oracle, case, pool, at, step)
            herd.ask(at)
            yield herd.claim(steps=step + 1)
        return herd.claim()

    def _done(self, case: Sponge, herd: Herd) -> bool:
        """Whether all that is handed in costs the most there can be."""
        full = herd.work[: case.inputs]
        return case.work.most is not None and len(full) == case.inputs and bool((full >= case.work.most).all())

    def _stepped(self, oracle: Oracle, case: Sponge, pool: Pool, at: list[Made], step: int) -> list[Made]:
        x, ids = pool.joined([one.value for one in at]), np.arange(len(at))
        found = oracle.gradient(x, y=np.zeros(len(x), np.int64), rows=ids, loss=_doubt)
        slope = np.nan_to_num(np.asarray(to_numpy(found.slope), np.float64), posinf=0.0, neginf=0.0)
        origin = np.array([one.origin for one in at])
        new = pool.landed(x + self.size * LAST ** (step / self.steps) * self._direction(case, slope), origin)
        return [Made(new[i], int(origin[i])) for i in range(len(new))]

    def _direction(self, case: Sponge, slope: Any) -> Any:
        """A step of the length of the radius, or of the domain, along the slope as its norm wants it."""
        ball = case.within
        if isinstance(ball, Ball) and ball.norm == "l2" and np.isfinite(ball.radius):
            flat = np.sqrt((slope.reshape(len(slope), -1) ** 2).sum(1))
            length = np.where(flat > 0, flat, 1.0).reshape(-1, *[1] * (slope.ndim - 1))
            return ball.radius * slope / length
        low, high = bounds(case)
        far = min(ball.radius, np.inf) if isinstance(ball, Ball) else np.inf
        return np.minimum(far, high - low) * np.sign(slope)


def _doubt(logits: Any, y: Any) -> Any:
    """How unsure an answer is, ``(n,)``: less for a surer best class, whatever class that is."""
    return -(logits - logits.logsumexp(1, keepdim=True)).max(1).values
