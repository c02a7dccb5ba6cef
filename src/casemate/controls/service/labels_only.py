"""Show the decision and nothing else."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.target import Response


@control(
    "service.labels_only",
    changes=(("model.output", "label"),),
    knows=("evasion.hopskipjump", "extraction.learning", "privacy.loss_threshold"),
    threats=("EV-02", "EX-01", "PR-01"),
    side_effects="callers lose the confidence they may sort or triage by",
)
class LabelsOnly:
    """Strip scores and logits from every answer.

    The decision itself still leaks: a boundary can be walked, a model copied and membership guessed from labels
    alone, only at more queries. That is what the attacks in `knows` measure.
    """

    @property
    def start(self) -> None:
        return None

    def admit(self, state: None, account: str, rows: Sized, now: float) -> tuple[None, NDArray[np.bool_]]:
        return state, np.ones(len(rows), bool)

    def answer(self, state: Any, response: Response) -> Response:
        return Response(response.label)

    def wait(self, state: None, account: str, now: float) -> float:
        return 0.0
