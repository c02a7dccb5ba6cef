"""Property inference: was there one share of a group in the training data, or the other?"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Distinguisher, Property
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Recipe, Response, count, take, to_numpy
from ...trainers import Fits, Learner, train_many
from .._features import Features
from .._questions import replies

Floats = NDArray[np.float64]
HOW = ("meta", "threshold")
LEAST = 4  # shadows of each world
FAINT = -12.0  # the logarithm of the smallest score that is told from 0
RIDGES = 10.0 ** np.arange(-2, 5)


@attack(
    "privacy.property",
    needs=Need.LABEL | Need.RECIPE,
    scope="set",
    case="property",
    papers=("doi:10.1145/3243734.3243834", "arXiv:2109.06024"),
    aka=("property inference", "distribution inference"),
    spends="`probes` queries; `shadows` trainings of the attacker's own",
    modality=("array", "table"),
)
class PropertyInference:
    """Train shadow models of both worlds, ask all of them the same, and learn to tell them apart by their answers.

    Black box: where the first paper reads the weights, this reads answers to records of the attacker's own, half of them
    from the group. Scores are used where the deployed endpoint shows them, decisions where it does not.

    Args:
        how: "meta": a ridge regression on all answers, its penalty chosen by shadows left out. "threshold": one number, the
            mean answer over the group, over the others, or over both, whichever tells the shadows apart best.
        shadows: Models trained, half of them in each world.
        probes: Records asked about.
    """

    how: str = "meta"
    shadows: int = 64
    probes: int = 200

    def __post_init__(self) -> None:
        if self.how not in HOW or self.shadows < 2 * LEAST or self.shadows % 2 or self.probes < 2:
            raise BadInput(
                f"privacy.property: how={self.how!r}, shadows={self.shadows}, probes={self.probes}; give one of {HOW}, an even "
                f"number of shadows from {2 * LEAST} up, and at least 2 probes"
            )

    def __call__(self, oracle: Oracle, case: Property, *, rng: RowRandom) -> Generator[Distinguisher, None, Distinguisher]:
        flag = np.asarray(to_numpy(case.flag), bool)
        enough(flag, case.shares, case.size, "the attacker's pool")
        chosen = _probes(flag, self.probes, rng)
        ask = take(case.pool.x, chosen)
        shown: list[Response] = [reply.response for reply in replies(oracle, ask, np.arange(len(chosen)))]
        y = _labels(case)
        scores = shown[0].scores is not None and shown[0].scores.ndim == 2
        classes = shown[0].scores.shape[1] if shown[0].scores is not None and scores else int(y.max()) + 1
        answers, world, detail = self._train(case, flag, y, ask, classes, rng)
        read = _Read(scores, classes)
        seen = np.stack([read.of_logits(each) for each in answers])
        learn = _meta if self.how == "meta" else _threshold
        made, right = learn(seen, world, flag[chosen], read)
        detail |= {"how": self.how, "scores": scores, "probes": len(chosen), "shadows_told_apart": right}
        whole = Response(*(_stacked([getattr(each, name) for each in shown]) for name in ("label", "scores")))
        if len(whole.label) == len(chosen):  # a refused part leaves nothing to say of the deployed model
            detail["deployed_share"] = float(case.shares[int(made(whole) > 0)])
        claim = Distinguisher(ask=ask, decide=made, detail=detail)
        yield claim
        return claim

    def _train(
        self, case: Property, flag: NDArray[np.bool_], y: NDArray[np.int64], ask: Any, classes: int, rng: RowRandom
    ) -> tuple[Floats, NDArray[np.int64], dict[str, Any]]:
        """Answers of the shadows ``(N, q, k)``, the world of each ``(N,)``, and what to say of them."""
        world = np.arange(self.shadows) % 2
        weights = np.zeros((self.shadows, len(flag)), np.int64)
        for i, side in enumerate(world):
            weights[i, drawn(flag, case.shares[side], case.size, rng.fork(0x57AD, i))] = 1
        learner, read = _learner(case.recipe, case.pool.x)
        seeds = [rng.fork(0x5EED, i).seed & 0x7FFFFFFF for i in range(self.shadows)]
        out = train_many(learner, read(case.pool.x), y, weights, seeds=seeds, ask=[read(ask)], classes=classes)
        good = ~np.asarray(out.failed, bool)
        if min((good & (world == side)).sum() for side in (0, 1)) < LEAST:
            raise BadInput(f"privacy.property: {out.reasons}; {LEAST} shadows of each world are needed")
        detail: dict[str, Any] = {"shadows": int(good.sum()), "shadows_failed": int((~good).sum())}
        detail |= {"shadows_failed_because": out.reasons} if out.reasons else {}
        return np.asarray(out.logits[0], np.float64)[good], world[good], detail


def enough(flag: NDArray[np.bool_], shares: tuple[float, float], size: int, whose: str) -> None:
    """Refuse a pool from which the worlds cannot be drawn, and say how many it takes."""
    if not 0 <= min(shares) < max(shares) <= 1:
        raise BadInput(f"shares={shares} are not two worlds; give two unlike shares from 0 to 1, such as (0.3, 0.7)")
    inside, outside = round(max(shares) * size), size - round(min(shares) * size)
    if flag.sum() < inside or (~flag).sum() < outside or size < 2:
        raise BadInput(
            f"{whose} has {int(flag.sum())} of the group and {int((~flag).sum())} others; worlds of {size} rows with shares "
            f"{shares} take {inside} and {outside}"
        )


def drawn(flag: NDArray[np.bool_], share: float, size: int, rng: RowRandom) -> NDArray[np.int64]:
    """Rows of a training set of `size` in which `share` belong to the group, at random, none twice."""
    order = np.argsort(rng.uniform(np.arange(len(flag)), 0), kind="stable")
    inside = round(share * size)
    return np.sort(np.concatenate([order[flag[order]][:inside], order[~flag[order]][: size - inside]]))


def _probes(flag: NDArray[np.bool_], most: int, rng: RowRandom) -> NDArray[np.int64]:
    """Half of the group, half of the others, as far as there are any."""
    order = np.argsort(rng.fork(0x9A5C).uniform(np.arange(len(flag)), 0), kind="stable")
    half = most // 2
    return np.sort(np.concatenate([order[flag[order]][:half], order[~flag[order]][: most - half]]))


def _labels(case: Property) -> NDArray[np.int64]:
    y = np.asarray(to_numpy(case.pool.y))
    if y.shape != (count(case.pool.x),) or y.dtype.kind not in "iub" or (len(y) and y.min() < 0) or len(np.unique(y)) < 2:
        raise BadInput(f"privacy.property reads two classes or more, one label a record; got {y.dtype} of shape {y.shape}")
    return y.astype(np.int64)


def _learner(recipe: Recipe, x: Any) -> tuple[Learner, Callable[[Any], Any]]:
    """What trains the shadows, and how it is shown inputs."""
    if recipe.stack is None:
        return Fits(recipe.fit), lambda rows: rows
    read: Callable[[Any], Any] = Features.of(x) if hasattr(x, "iloc") else to_numpy
    return recipe.stack, read


def _stacked(parts: list[Any]) -> Any:
    return None if any(part is None for part in parts) else np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class _Read:
    """Answers as numbers: logarithms of scores, or decisions one-hot; ``(q * classes,)``."""

    scores: bool
    classes: int

    def of_logits(self, logits: Floats) -> Floats:
        if not self.scores:
            return self._one_hot(logits.argmax(1))
        top = logits - logits.max(1, keepdims=True)
        return np.asarray(np.maximum(top - np.log(np.exp(top).sum(1, keepdims=True)), FAINT).ravel())

    def __call__(self, response: Response) -> Floats:
        if self.scores and response.scores is not None:
            shown = np.asarray(to_numpy(response.scores), np.float64)
            return np.asarray(np.maximum(np.log(np.maximum(shown, np.exp(FAINT))), FAINT).ravel())
        return self._one_hot(np.asarray(to_numpy(response.label)))

    def _one_hot(self, label: NDArray[Any]) -> Floats:
        return np.asarray(np.equal.outer(label, np.arange(self.classes)).astype(float).ravel())


@dataclass(frozen=True, slots=True)
class Line:
    """A weighted sum of answers, and where it crosses from one world to the other."""

    read: _Read
    weights: Floats
    start: float

    def __call__(self, response: Response) -> float:
        return float(self.read(response) @ self.weights - self.start)


def _meta(seen: Floats, world: NDArray[np.int64], flag: NDArray[np.bool_], read: _Read) -> tuple[Line, float]:
    """Ridge regression on all answers, in its dual; and the share of shadows it tells when each is left out."""
    centre, spread = seen.mean(0), seen.std(0)
    scaled = (seen - centre) / np.where(spread > 1e-9, spread, np.inf)
    side = 2.0 * world - 1
    middle = side.mean()
    found: list[tuple[float, float, Floats]] = []
    gram = scaled @ scaled.T
    for ridge in RIDGES:
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        dual = inverse @ (side - middle)
        alone = side - dual / np.diag(inverse)  # what each would be told were it not among the others
        found.append((float(((alone > 0) == (side > 0)).mean()), -float(((side - alone) ** 2).mean()), dual))
    right, _, dual = max(found, key=lambda one: one[:2])
    weights = scaled.T @ dual / np.where(spread > 1e-9, spread, np.inf)
    return Line(read, weights, float(centre @ weights - middle)), right


def _threshold(seen: Floats, world: NDArray[np.int64], flag: NDArray[np.bool_], read: _Read) -> tuple[Line, float]:
    """One mean answer and a line halfway between the two worlds; and the share of shadows it tells."""
    best: tuple[float, Line] | None = None
    for group in (flag, ~flag, np.ones(len(flag), bool)):
        for c in range(read.classes):
            pick = (group[:, None] & (np.arange(read.classes) == c)).ravel() / max(int(group.sum()), 1)
            value = seen @ pick
            low, high = value[world == 0].mean(), value[world == 1].mean()
            sign = 1.0 if high >= low else -1.0
            right = float(((sign * (value - (low + high) / 2) > 0) == (world == 1)).mean())
            if best is None or right > best[0]:
                best = right, Line(read, sign * pick, float(sign * (low + high) / 2))
    assert best is not None
    return best[1], best[0]
