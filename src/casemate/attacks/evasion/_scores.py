"""What attacks that only see scores climb."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.case import Evade
from ...core.goal import Shift
from ...core.target import Response, to_numpy


def climb(case: Evade, response: Response, y: Any) -> Any:
    """How near each answer is to the goal, ``(n,)``, from the finest scores shown; None where only labels are.

    Probabilities are taken to their logarithms first, which makes the margin the one of the logits: the margin of the
    probabilities themselves is flat wherever the model is sure.

    Args:
        case: Its own loss, where it brings one, comes before the goal's.
        response: What was shown; scores or logits ``(n, k)``.
        y: What is true of each, ``(n,)``.
    """
    loss = case.loss or case.goal.loss
    if response.logits is not None:
        return loss(response.logits, y if hasattr(response.logits, "gather") else to_numpy(y))
    if response.scores is None:
        return None
    scores = response.scores
    if not isinstance(case.goal, Shift) and _distribution(scores):
        # Below the smallest normal number of its precision a softmax has nothing left to say.
        wide = "float64" in str(scores.dtype)
        scores = scores.clip(float(np.finfo(np.float64 if wide else np.float32).tiny), None)
        scores = scores.log() if hasattr(scores, "log") else np.log(scores)
    return loss(scores, y if hasattr(scores, "gather") else to_numpy(y))


def _distribution(scores: Any) -> bool:
    # Rounded probabilities add up to one only roughly; ten classes at two decimals are off by 0.05 at most.
    return scores.ndim == 2 and bool((scores >= 0).all()) and bool((abs(scores.sum(1) - 1) < 0.06).all())
