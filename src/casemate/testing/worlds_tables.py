"""Tables made from a seed, like a census: of which it is known who is in them, and what a model of them can give away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput

WORK = ("office", "craft", "service", "management")
COLUMNS = ("age", "education", "hours", "married", *WORK)


def adults(
    n: int, *, women: float = 0.5, gap: float = 1.5, seed: int = 0, told: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """People with an income above or below a line, as in a census.

    Income follows age, education, hours and work, and falls by `gap` (in log-odds) for women, who work fewer hours and more
    often in offices. At ``gap = 0`` a model learns the same of any mixture.

    Args:
        women: Their share.
        told: Whether the sex is a column of its own, the last, or left out, as a bank leaves it out.

    Returns:
        ``(n, 8)`` numbers, scaled, or ``(n, 9)``; ``(n,)`` whether income is high; ``(n,)`` who is a woman.
    """
    if n < 1 or not 0 <= women <= 1:
        raise BadInput(f"n={n}, women={women}: a count from 1 up, and a share from 0 to 1")
    rng = np.random.default_rng(seed)
    woman = rng.random(n) < women
    age = rng.normal(size=n)
    education = rng.normal(size=n)
    hours = rng.normal(size=n) - 0.5 * woman
    married = (rng.random(n) < 0.5).astype(float)
    chance = np.where(woman[:, None], (0.45, 0.1, 0.3, 0.15), (0.25, 0.35, 0.15, 0.25))
    work = (rng.random(n)[:, None] > chance.cumsum(1)[:, :-1]).sum(1)
    logit = 0.8 * age + education + 0.6 * hours + 0.5 * married + np.array((0.0, -0.3, -0.8, 1.0))[work] - gap * woman
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    x = np.column_stack([age, education, hours, married, np.eye(len(WORK))[work]])
    return (np.column_stack([x, woman]) if told else x), y, woman


def adults_frame(n: int, *, women: float = 0.5, gap: float = 1.5, seed: int = 0) -> tuple[Any, NDArray[np.int64]]:
    """The same people as a frame, with work and sex as words."""
    import pandas

    x, y, woman = adults(n, women=women, gap=gap, seed=seed)
    frame = pandas.DataFrame(x[:, :4], columns=list(COLUMNS[:4]))
    frame["work"] = np.array(WORK)[x[:, 4:].argmax(1)]
    frame["sex"] = np.where(woman, "female", "male")
    return frame, y
