"""STRIP: an input whose decision survives other inputs laid over it carries a trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.control import control
from ...core.errors import BadInput, UsageError
from ...core.random import RowRandom
from ...core.target import REJECT, Recipe, Response, Target, count, to_numpy

_ROWS = 8192  # model rows of one call: inputs times overlays
_CALIBRATE = 1000  # clean inputs the threshold is read off, at most


@control(
    "training.strip",
    knows=("poisoning.warping", "poisoning.clean_label", "poisoning.badnets"),
    threats=("PO-03",),
    side_effects="every decision asks the model `overlays` times more; the stated share of honest inputs is rejected",
    trains=True,
)
class Strip:
    """Reject an input when the model goes on deciding it in the same way with other inputs laid over it (Gao et al. 2019,
    arXiv:1902.06531).

    It guards the model that a recipe makes (`harden_recipe`, with overlays and threshold from the training data), or one
    that is there already (`screen`, with clean inputs of your own). Inputs are arrays of numbers; values are laid over one
    another by adding what lies above the lowest value, and cut off at the highest. Overlays are drawn once: the detector
    gives one answer to one input.

    Args:
        overlays: Inputs laid over each, N in the paper.
        rejects: Share of clean inputs that may be rejected: the threshold is that quantile of their entropies.
        seed: Of the draw of overlays.
    """

    overlays: int = 100
    rejects: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.overlays < 1 or not 0 < self.rejects < 1:
            raise UsageError(f"{self!r} is not allowed; give overlays from 1 and rejects between 0 and 1")

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same training, with the screen in front of what it makes."""
        if not callable(getattr(recipe, "fit", None)):
            raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
        return replace(recipe, fit=Guarded(recipe.fit, self), version=f"{recipe.version}+{self!r}", stack=None)

    def screen(self, target: Target, clean: Any) -> Target:
        """The target behind the screen.

        Args:
            clean: Inputs ``(n, *shape)`` without a trigger, at least two: some are laid over others, and on them the
                threshold is set. With fewer than ``1 / rejects`` of them the share rejected is only roughly kept.
        """
        from ...targets.wrap import wrap

        array = _numbers(clean)
        order = np.argsort(RowRandom(self.seed).uniform(np.arange(len(array)), 0), kind="stable")
        over, rest = order[: min(self.overlays, len(order) // 2)], order[len(order) // 2 :]
        model = Screen(
            target=target, overlays=array[over], low=float(array.min()), high=float(array.max()), least=-np.inf, name=target.name
        )
        entropies = model.entropy(array[rest[:_CALIBRATE]])
        return wrap(replace(model, least=float(np.quantile(entropies, self.rejects))))


def _numbers(x: Any) -> NDArray[Any]:
    array = None if hasattr(x, "iloc") else np.asarray(to_numpy(x))
    if array is None or array.dtype.kind not in "fiu" or len(array) < 2:
        raise BadInput("training.strip lays inputs over one another: give two or more arrays of numbers, no table and no text")
    return array


@dataclass(frozen=True, slots=True)
class Guarded:
    """A `fit` whose model stands behind the screen."""

    fit: Callable[..., Target]
    control: Strip

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        return self.control.screen(wrap(self.fit(x, y, seed)), x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A model that rejects what stays decided under overlays.

    Args:
        overlays: ``(k, *shape)``.
        low, high: The domain of the sum.
        least: Entropy in nats below which an input is rejected.
    """

    target: Target
    overlays: NDArray[Any]
    low: float
    high: float
    least: float
    name: str
    offers: Need = field(init=False, default=Need.LABEL | Need.SCORE | Need.LOGIT | Need.ARTIFACT)

    @property
    def classes(self) -> int | None:
        return self.target.classes

    def forward(self, x: Any) -> Response:
        answer = self.target.respond(x)
        label = np.array(to_numpy(answer.label))
        label[self.entropy(np.asarray(to_numpy(x))) < self.least] = REJECT
        return replace(answer, label=label)

    def entropy(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Mean entropy of the decisions on each input under all overlays ``(n,)``, in nats."""
        found, at_once = [], max(1, _ROWS // len(self.overlays))
        for start in range(0, len(x), at_once):
            part = x[start : start + at_once]
            mixed = np.clip(part[:, None] + (self.overlays[None] - self.low), self.low, self.high).astype(x.dtype)
            scores = self._scores(mixed.reshape(-1, *x.shape[1:]))
            entropy = -(scores * np.log(np.clip(scores, 1e-30, None))).sum(1)
            found.append(entropy.reshape(len(part), -1).mean(1))
        return np.concatenate(found) if found else np.zeros(0)

    def _scores(self, x: NDArray[Any]) -> NDArray[np.float64]:
        answer = self.target.respond(x)
        if answer.scores is None:
            raise BadInput(f"training.strip needs scores, and {self.target.name} shows labels only")
        return np.asarray(to_numpy(answer.scores), np.float64)

    def fingerprint(self) -> str | None:
        inner = self.target.fingerprint()
        if inner is None:
            return None
        how = f"strip|{inner}|{self.low!r}|{self.high!r}|{self.least!r}|{count(self.overlays)}"
        return hashlib.sha256(how.encode() + np.ascontiguousarray(self.overlays).tobytes()).hexdigest()

    def state(self) -> str:
        return self.target.state()
