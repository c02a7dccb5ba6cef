"""The likelihood ratio attack: is this confidence that of a model trained with the record, or of one trained without?"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._shadows import Shadows, shadows
from ._answers import Floats, Told, confidence, guesses, interview, level

FEW = 64  # shadows: with fewer a variance of each record's own is too rough
OFTEN = 0.1  # false positives an offline attack allows itself


@attack(
    "privacy.lira",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:2112.03570",),
    aka=("LiRA", "likelihood ratio attack", "online LiRA", "offline LiRA"),
    spends="1 query per candidate; `shadows` trainings of the attacker's own",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: 1,
)
class LiRA:
    """Compare each confidence with those of shadow models trained with the record and without it.

    The confidence is ``log(p / (1 - p))`` of the true class. Over the shadows it is close to normal, with a mean of each
    record's own, and the score is the ratio of the two densities; a ratio above 1 is called a member. Each record is asked
    about once: further queries with augmented copies help only against models trained on such copies, which is not supposed.

    Args:
        shadows: Models to train, an even number; each record is in half of them.
        online: Whether models trained with the record are used. Without, the score is how far the confidence lies above what
            models without the record show, and the highest tenth of that normal law is called members.
        variance: ``record`` gives each record its own, ``pooled`` all the same one (the mean of the records' own, of each
            side for itself), ``auto`` pools below 64 shadows.
        centre: The middle of a side: ``median`` or ``mean``.
        seed: Of the shadows; attacks with the same seed share them.
    """

    shadows: int = 64
    online: bool = True
    variance: Literal["auto", "record", "pooled"] = "auto"
    centre: Literal["median", "mean"] = "median"
    seed: int = 0

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        if self.variance not in ("auto", "record", "pooled") or self.centre not in ("median", "mean"):
            allowed = "variance is auto, record or pooled, centre is median or mean"
            raise BadInput(f"privacy.lira: {allowed}; got variance={self.variance!r}, centre={self.centre!r}")
        claim, laws = None, None
        for told in interview(oracle, case, rng, "privacy.lira"):
            if laws is None:
                classes = told.logits.shape[1]
                models = shadows(oracle, case, classes=classes, many=self.shadows, seed=self.seed, who="privacy.lira")
                pooled = self.variance == "pooled" or (self.variance == "auto" and len(models) < FEW)
                laws = Laws(models, told.y, pooled=pooled, centre=self.centre)
            score = laws.score(told, online=self.online)
            detail = {"variance": "pooled" if pooled else "record", "online": self.online} | models.detail
            claim = guesses(score, told, score > (0.0 if self.online else float(norm.isf(OFTEN))), detail)
            yield claim
        assert claim is not None  # replies raise where nothing at all comes back
        return claim


class Laws:
    """How confident models are with each record and without it, by what the shadows show."""

    def __init__(self, models: Shadows, y: NDArray[np.int64], *, pooled: bool, centre: str = "median") -> None:
        self._shown, self._inside = confidence(models.logits, y), models.inside
        self._how, self._cut = (pooled, centre), 0
        self._sides = self._work_out(self._shown)

    def _work_out(self, shown: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        return side(shown, self._inside, *self._how), side(shown, ~self._inside, *self._how)

    def score(self, told: Told, *, online: bool = True) -> Floats:
        """As `ratio`, of what is known by now ``(n,)``."""
        if told.saturated != self._cut:  # what the endpoint cannot show, a shadow must not show either
            self._cut, self._sides = told.saturated, self._work_out(level(told, self._shown))
        return compared(told.confidence, *self._sides, online)


def ratio(
    seen: Floats, shadow: Floats, inside: NDArray[np.bool_], *, online: bool = True, pooled: bool = False,
    centre: str = "median",
) -> Floats:  # fmt: skip
    """The score of each record ``(n,)``, larger for members.

    Args:
        seen: ``(n,)`` what the deployed model shows.
        shadow: ``(N, n)`` what the shadows show.
        inside: ``(N, n)`` which of them were trained on which record.
        online: The log of the ratio of the two densities; without, standard deviations above the models without the record.
        pooled: One variance for all records, each side its own.
        centre: ``median`` or ``mean``.
    """
    return compared(seen, side(shadow, inside, pooled, centre), side(shadow, ~inside, pooled, centre), online)


def compared(seen: Floats, within: tuple[Floats, Floats], without: tuple[Floats, Floats], online: bool) -> Floats:
    """`ratio` from the middle and the spread of each side."""
    middle, spread = without
    far = (seen - middle) / spread
    if not online:
        return np.asarray(far)
    near = (seen - within[0]) / within[1]
    return np.asarray((far**2 - near**2) / 2 + np.log(spread / within[1]))


def side(shadow: Floats, chosen: NDArray[np.bool_], pooled: bool, centre: str) -> tuple[Floats, Floats]:
    """The middle and the spread of the chosen models' values for each record, ``(n,)`` each."""
    values = np.where(chosen, shadow, np.nan)
    middle = np.nanmedian(values, axis=0) if centre == "median" else np.nanmean(values, axis=0)
    variance = np.nanvar(values, axis=0, ddof=1)
    shared = float(variance.mean())
    if pooled:
        variance = np.full_like(variance, shared)
    # Models that all agree to the last digit leave no spread; a hundredth of the usual one keeps the ratio finite.
    return middle, np.sqrt(np.maximum(variance, max(1e-4 * shared, 1e-12)))
