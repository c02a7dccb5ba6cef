"""Decompression bombs: small files that make whoever unpacks them work for large ones."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.availability import Heavy, Sponge
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ._bombs import bombs
from ._herd import Herd
from ._inputs import Made, pool_of


@attack(
    "availability.decompression",
    needs=Need.SUBMIT,
    scope="set",
    case="sponge",
    aka=("zip bomb", "decompression bomb", "overlapping archive"),
    spends="1 query per file: about ten",
    modality=("bytes",),
)
class Decompression:
    """Send files that unpack to far more than they are: streams of zeros, archives with one body under many names, nested ones.

    Every file is one its own format allows, no longer than an input may be. Pressing zeros shrinks them about a thousand
    times; entries that share one body multiply that by their number, and an archive within an archive by its own ratio.
    No content of more than `cap` bytes is ever made here.

    Args:
        cap: Bytes that are pressed to make one stream, at most.
    """

    cap: int = 4 << 20

    def __post_init__(self) -> None:
        if not 1 << 10 <= self.cap <= 1 << 30:
            raise BadInput(f"availability.decompression: cap={self.cap!r} is not allowed; give 1024 to {1 << 30} bytes")

    def __call__(self, oracle: Oracle, case: Sponge, *, rng: RowRandom) -> Generator[Heavy | None, None, Heavy | None]:
        if not isinstance(case.x, list | tuple) or not all(isinstance(one, bytes) for one in case.x):
            raise BadInput(f"availability.decompression sends files; got {type(case.x).__name__} of something else; give bytes")
        pool = pool_of(case, rng.generator(0))
        herd = Herd(oracle, case, pool, case.inputs)
        made: list[str] = []
        for name, data in bombs(case.room, self.cap):
            one = Made(data, 0)
            if case.within is not None and not np.asarray(case.within.check([data], [case.x[0]]))[0]:
                continue
            herd.ask([one])
            made.append(name)
            yield herd.claim(made=tuple(made))
        return herd.claim(made=tuple(made))
