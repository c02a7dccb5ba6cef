"""Sponge inputs: a search for what costs the system the most work."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.availability import Heavy, Sponge
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, to_numpy
from ._herd import Herd
from ._inputs import Made, Pool, bounds, pool_of


@attack(
    "availability.sponge",
    needs=Need.SUBMIT,
    scope="set",
    case="sponge",
    papers=("arXiv:2006.03463",),
    aka=("sponge examples", "energy-latency attack", "SpongeInputs"),
    spends="1 query per input tried; none with a copy, where a slope costs 1 gradient per step and input",
    modality=("array", "table", "bytes", "text"),
)
class SpongeInputs:
    """Breed the inputs that cost the most; where the network is held, climb the slope of its activations too.

    Arrays mix and mutate within the domain; rows of tables change columns; texts and files repeat, double and end oddly, up to
    the longest allowed (which finds what makes a tokeniser or a regular expression go back over and over). What is climbed
    is a count of work, never a clock. The paper breeds by energy or time alone; so does this for whoever holds nothing.

    Args:
        population: Inputs alive at a time, at least 2.
        mutate: Share of a generation that comes of parents; the rest come of none: honest ones, or of arrays any of the domain.
        steps: Steps up the slope at the end, with a copy.
        size: The first step of these, as a share of the domain; it shrinks to nothing.
    """

    population: int = 40
    mutate: float = 0.9
    steps: int = 20
    size: float = 0.2

    def __post_init__(self) -> None:
        if self.population < 2 or not 0 < self.mutate <= 1 or self.steps < 0 or not 0 < self.size <= 1:
            raise BadInput(
                f"availability.sponge: population={self.population}, mutate={self.mutate}, steps={self.steps}, "
                f"size={self.size}; give at least 2, a share above 0, 0 or more, a share above 0"
            )

    def __call__(self, oracle: Oracle, case: Sponge, *, rng: RowRandom) -> Generator[Heavy | None, None, Heavy | None]:
        draw = rng.generator(0)
        pool = pool_of(case, draw)
        herd = Herd(oracle, case, pool, self.population)
        climbs = case.work.climb is not None and oracle.works(Need.GRADIENT) and type(pool) is Pool
        reserve = min(self.steps * min(case.inputs, self.population), case.asks // 2) if climbs else 0
        young = pool.first(max(1, min(self.population, herd.left // 4)))  # most of what can be asked is for their children
        first = len(young)
        while herd.left > reserve and young:
            herd.ask(young[: herd.left - reserve])
            if not herd.alive:
                return None
            yield herd.claim(bred=herd.asked - first)
            young = [self._young(pool, herd, draw) for _ in range(self.population)]
        for step in range(self.steps if climbs else 0):
            herd.ask(self._steeper(oracle, case, pool, herd, step))
            yield herd.claim(bred=herd.asked - first, climbed=step + 1)
        return herd.claim(bred=herd.asked - first)

    def _young(self, pool: Pool, herd: Herd, draw: np.random.Generator) -> Made:
        if draw.random() > self.mutate:
            return pool.fresh()
        a, b = (herd.alive[int(draw.integers(len(herd.alive), size=2).min())] for _ in range(2))  # the fitter of two
        return pool.child(a, b)

    def _steeper(self, oracle: Oracle, case: Sponge, pool: Pool, herd: Herd, step: int) -> list[Made]:
        """The costliest inputs, each a step up the slope of its own work."""
        best = herd.alive[: case.inputs]
        x, ids = pool.joined([one.value for one in best]), np.arange(len(best))
        assert case.work.climb is not None
        with case.work.climb() as loss:
            found = oracle.gradient(x, y=np.zeros(len(x), np.int64), rows=ids, loss=loss)
        slope = np.nan_to_num(np.asarray(to_numpy(found.slope), np.float64), posinf=0.0, neginf=0.0)
        low, high = bounds(case)
        origin = np.array([one.origin for one in best])
        new = pool.landed(x + self.size * (1 - step / self.steps) * (high - low) * np.sign(slope), origin)
        return [Made(new[i], int(origin[i])) for i in range(count(new))]
