"""Transfer from the public parent: craft on the model the deployed one was fine-tuned from, then try it."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import NORMS, Ball
from ...core.errors import BadInput, UnknownName
from ...core.goal import Loss
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Slope
from .._rows import Rows
from ._losses import cross_entropy, steepest
from ._own import Room, moved_in, room
from ._scores import climb
from ._transforms import around, blurred, dimmed, moved

PASS = 512  # rows of one backward pass: copies of a row are cheap to pack, and more than this fall out of a CPU's cache

# The names of the literature as parameters of the one template: ten steps of a tenth of the radius each.
_TEN: dict[str, Any] = {"steps": 10, "stride": 0.1}
PRESETS: dict[str, dict[str, Any]] = {
    "FGSM": {"steps": 1, "stride": 1.0, "decay": 0.0},
    "BIM": {**_TEN, "decay": 0.0},
    "MI": _TEN,
    "NI": {**_TEN, "nesterov": True},
    "DI": {**_TEN, "diversity": 0.5},
    "TI": {**_TEN, "translation": 7},
    "SI": {**_TEN, "nesterov": True, "scales": 5},
    "VMI": {**_TEN, "neighbours": 20},
    "VNI": {**_TEN, "neighbours": 20, "nesterov": True},
}


class Source(Protocol):
    """What is climbed: the parent behind its oracle, or a model the attacker trained."""

    def gradient(self, x: Any, *, y: Any, rows: Any, loss: Loss) -> Slope: ...


@attack(
    "evasion.transfer",
    needs=Need.PARENT | Need.LABEL,
    papers=(
        "arXiv:1710.06081", "arXiv:1803.06978", "arXiv:1904.02884", "arXiv:1908.06281", "arXiv:2103.15571", "arXiv:1611.02770",
    ),
    within=("Ball", "Region"),
    aka=(
        "transfer", "MI-FGSM", "MIM", "momentum iterative", "DI2-FGSM", "NI-FGSM", "TI-FGSM", "SI-NI-FGSM", "VMI-FGSM",
        "ensemble transfer",
    ),
    spends="at most tries queries per row; steps x scales x (neighbours + 1) gradients on the attacker's own parent",
    static_cost=lambda a: 3 * a.steps * a.scales * (a.neighbours + 1) + a.tries,
)  # fmt: skip
class Transfer:
    """Climb the parent's loss with momentum; ask the deployed endpoint now and then whether it fell too.

    The parent is the attacker's own: only the tries are queries. Every part below keeps the climb from settling where only
    the parent is wrong, and any of them go together; `named` gives the combinations of the literature. Several parents are
    one: ``Known(parent=Pipeline(model=Ensemble(members=(a, b))))`` is climbed by the mean of their logits.

    Unlike the papers', every row has its own shrunken image and its own neighbours, slopes are brought back through the
    change of the image they were taken at, contrast is measured from the dark end of the domain, and look-ahead and
    neighbours stay inside the domain (of a constraint of your own: inside that; `scales` and `diversity` ask for its `low`).

    Args:
        steps: Gradient steps on the parent.
        decay: Weight of the directions of earlier steps; 0 is plain iterative ascent, 1 keeps their sum.
        stride: Step length as a share of the radius.
        diversity: Share of (row, step) pairs, in [0, 1], whose gradient is taken at a shrunken, moved image; images only.
        shrink: Smallest side of such an image as a share of the full side.
        check_every: Steps between tries; the last point is tried too.
        tries: Most queries of each row.
        nesterov: Whether the slope is taken where the momentum leads, instead of where the row stands.
        translation: Reach in pixels of the Gaussian that smooths slopes; 0 leaves them as they are; images only.
        scales: Copies of the input, each at half the contrast of the one before, whose slopes are added up.
        neighbours: Points around each row, at every step, whose mean slope corrects that of the next step.
        spread: How far such neighbours lie, as a share of the radius.
    """

    steps: int = 50
    decay: float = 1.0
    stride: float = 0.1
    diversity: float = 0.0
    shrink: float = 0.85
    check_every: int = 10
    tries: int = 5
    nesterov: bool = False
    translation: int = 0
    scales: int = 1
    neighbours: int = 0
    spread: float = 1.5

    def __post_init__(self) -> None:
        for name, least in (("scales", 1), ("neighbours", 0), ("translation", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"{name}={getattr(self, name)!r} is not allowed; give {least} or more")

    @classmethod
    def named(cls, preset: str, **changes: Any) -> Transfer:
        """A combination by its name in the literature (`PRESETS`), with some parameters changed."""
        if preset not in PRESETS:
            raise UnknownName("preset of evasion.transfer", preset, PRESETS)
        return cls(**{**PRESETS[preset], **changes})

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        return (yield from self.climb(oracle.parent(), oracle, case, rng))

    def climb(self, source: Source, oracle: Oracle, case: Evade, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        """Climb `source`, and ask the endpoint about where the rows stand at every `check_every`-th step and at the end."""
        case, tried = moved_in(case, "evasion.transfer", NORMS), 0
        at = self.begin(case)
        for step in range(1, self.steps + 1):
            at = self.move(source, case, at, rng, step)
            # One try is kept for the last point, the furthest climbed.
            if step == self.steps or (step % self.check_every == 0 and tried < self.tries - 1):
                response = oracle.look(at.x, rows=at.row)
                seen = climb(case, response, at.y)
                at, tried = at.see(case, response, None if seen is None else torch.as_tensor(seen)), tried + 1
            at = yield at
        return at

    def begin(self, case: Evade) -> Rows:
        """All rows at their origins, with no momentum."""
        within = room(moved_in(case, "evasion.transfer", NORMS))
        if (self.scales > 1 or self.diversity) and not math.isfinite(within.low):
            raise BadInput(
                f"scales={self.scales}, diversity={self.diversity} need the dark end of the domain; give {within!r} a low"
            )
        at = Rows.begin(case)
        nothing = torch.zeros_like(at.x)
        return at.keep(pull=nothing, tuning=nothing) if self.neighbours else at.keep(pull=nothing)

    def move(self, source: Source, case: Evade, at: Rows, rng: RowRandom, step: int) -> Rows:
        """The rows one step further up, asked about nowhere; `step` names the draws."""
        ball = room(case)
        reach = min(ball.radius, (ball.high - ball.low) / 2)
        length = self.stride * reach
        x = at.x
        if self.nesterov:
            lead = 1.0 if ball.norm == "linf" else 1 / math.sqrt(max(1, math.prod(x.shape[1:])))
            x = _boxed(ball, x + length * self.decay * lead * at.state["pull"], at)
        if self.neighbours:
            lot = torch.as_tensor(rng.uniform(at.row, (step, 1), (self.neighbours, *x.shape[1:]))).to(x)
            near = _boxed(ball, around(x, lot, self.spread * reach, ball.norm), at)
            slopes = self._slopes(source, case, at, torch.cat([x, near]), rng, step)
            slope = slopes[0] + at.state["tuning"]
            at = at.keep(tuning=slopes[1:].mean(0) - slopes[0])
        else:
            slope = self._slopes(source, case, at, x, rng, step)[0]
        mean = slope.abs().flatten(1).mean(1).clamp_min(1e-30).reshape(-1, *([1] * (slope.ndim - 1)))
        at = at.keep(pull=self.decay * at.state["pull"] + slope / mean)
        return at.at(torch.as_tensor(ball.project(at.x + length * steepest(at.state["pull"], ball.norm), at.origin)))

    def _slopes(self, source: Source, case: Evade, at: Rows, x: Tensor, rng: RowRandom, step: int) -> Tensor:
        """Slopes at `x` ``(k * n, *shape)``, k points of every row, as ``(k, n, *shape)``; finite."""
        seen = x.detach().requires_grad_(True)
        with torch.enable_grad():
            image = self._changed(seen, case, at, rng, step)
        copies = len(image) // len(at)
        rows, y = np.tile(at.row, copies), at.y.repeat(copies)
        found = torch.cat(self._passes(source, image.detach(), y, rows, cross_entropy(case))).to(x.dtype)
        # What is not a number is no direction. Through the changes of the image the slope comes back by the chain rule.
        found = torch.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        if image is not seen:
            (found,) = torch.autograd.grad(image, seen, found)
        if self.translation and found.ndim == 4:
            found = blurred(found, self.translation)
        return found.reshape(-1, *at.x.shape)

    def _changed(self, x: Tensor, case: Evade, at: Rows, rng: RowRandom, step: int) -> Tensor:
        """The points at which slopes are taken: dimmed copies, some of them shrunken and moved. `x` itself where none is."""
        ball = room(case)
        if self.scales > 1:
            x = dimmed(x, ball.low, self.scales)
        if not self.diversity or x.ndim != 4:
            return x
        lot = torch.as_tensor(rng.uniform(at.row, (step, 0), (len(x) // len(at), 4))).to(x.detach())
        return moved(x, lot.transpose(0, 1).flatten(0, 1), self.diversity, self.shrink, ball.low)

    def _passes(self, source: Source, x: Tensor, y: Tensor, rows: NDArray[np.int64], loss: Loss) -> list[Tensor]:
        """The slopes of the source, in passes of a fair size."""
        parts = (slice(start, start + PASS) for start in range(0, len(x), PASS))
        return [source.gradient(x[part], y=y[part], rows=rows[part], loss=loss).slope for part in parts]


def _boxed(ball: Room, x: Tensor, at: Rows) -> Tensor:
    """Points to take slopes at, copies of the rows one after the other: in the domain, or in the user's own constraint."""
    if isinstance(ball, Ball):
        return torch.as_tensor(ball.box(x))
    return ball.project(x, at.origin.repeat(len(x) // len(at), *([1] * (x.ndim - 1))))
