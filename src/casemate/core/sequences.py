"""Constraints on strings of bytes: what may be changed so that the input still works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Edit = Callable[[bytes, bytes, np.random.Generator], bytes]


@dataclass(frozen=True, slots=True)
class Bytes:
    """Byte strings that still work: every change must pass the format's own parser.

    Args:
        valid: ``valid(changed, original) -> bool``; really parses. It runs at the attacker's cost and again by the judge.
        edit: ``edit(current, original, generator) -> changed``: one random change the attacker knows how to make.
        grow: Most bytes that may be added.
    """

    valid: Callable[[bytes, bytes], bool]
    edit: Edit
    grow: int = 4096

    def check(self, claim: Sequence[bytes], origin: Sequence[bytes]) -> NDArray[np.bool_]:
        return np.array([len(c) <= len(o) + self.grow and bool(self.valid(c, o)) for c, o in zip(claim, origin, strict=True)])

    def measure(self, claim: Sequence[bytes], origin: Sequence[bytes]) -> NDArray[np.float64]:
        """Bytes added (or removed), a cheap lower bound on the edit distance."""
        return np.array([float(_changed(c, o)) for c, o in zip(claim, origin, strict=True)])

    def propose(self, row: bytes, origin: bytes, rng: np.random.Generator) -> bytes:
        """One random edit of `row`, not yet checked."""
        return self.edit(row, origin, rng)


def _changed(claim: bytes, origin: bytes) -> int:
    """Bytes outside the common prefix and suffix."""
    short = min(len(claim), len(origin))
    prefix = _alike(claim[:short], origin[:short])
    rest = short - prefix
    suffix = _alike(claim[len(claim) - rest :][::-1], origin[len(origin) - rest :][::-1])
    return max(len(claim), len(origin)) - prefix - suffix


def _alike(a: bytes, b: bytes) -> int:
    """How many bytes two strings of one length share from the start."""
    differ = np.flatnonzero(np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8))
    return int(differ[0]) if len(differ) else len(a)
