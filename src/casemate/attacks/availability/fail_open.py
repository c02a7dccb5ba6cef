"""A drill: the model is made to fail, and what the system decides without it is written down."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ...core.adversary import Need
from ...core.attack import attack
from ...core.availability import Drill, Drilled
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ._faults import FAULTS, tried


@attack(
    "availability.fail_open",
    needs=Need.NONE,
    scope="set",
    case="drill",
    aka=("fail-open drill", "failing open"),
    spends="no query: the model is replaced by one that fails",
    modality=("array", "table", "bytes", "text"),
)
class FailOpen:
    """Kill the model, let it hang, let it answer nonsense; see what is decided.

    The model is replaced by one that fails, in process: nothing deployed is touched. Faults: ``raises``; ``hangs`` (keeps the
    caller waiting, then a timeout is raised); ``nan``; ``short`` (one row too few); ``empty``; ``none``.

    Args:
        faults: Which of them, in order.
        patience: Seconds a model that hangs keeps its caller waiting. A drill is cut after five times as long.
    """

    faults: tuple[str, ...] = FAULTS
    patience: float = 0.1

    def __post_init__(self) -> None:
        strange = [fault for fault in self.faults if fault not in FAULTS]
        if strange or not self.faults:
            raise BadInput(f"availability.fail_open: faults={self.faults!r} are not known; give some of {', '.join(FAULTS)}")
        if not 0 < self.patience < 60:
            raise BadInput(f"availability.fail_open: patience={self.patience!r} is not allowed; give seconds above 0, below 60")

    def __call__(self, oracle: Oracle, case: Drill, *, rng: RowRandom) -> Generator[Drilled, None, Drilled]:
        decided: dict[str, Any] = {}
        said: dict[str, str] = {}
        for fault in self.faults:
            decided[fault], said[fault] = tried(case, fault, self.patience)
            yield Drilled(decided=dict(decided), said={name: words for name, words in said.items() if words})
        return Drilled(decided=decided, said={name: words for name, words in said.items() if words})
