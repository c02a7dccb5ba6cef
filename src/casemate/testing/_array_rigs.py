"""Rigs whose inputs are arrays: networks, a linear model, stumps, a forest, and rows of named numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Evade
from ..core.constraint import Ball, Constraint, Norm
from ..core.oracle import Known
from ..core.patch import Patch
from ..core.spatial import Spatial
from ..core.table import Column, Table
from ..core.target import to_numpy
from .rig import ROWS, Rig, Setup, Tally, Variant

RADII: dict[str, dict[Norm, float]] = {
    "linear": {"linf": 0.12, "l2": 0.5, "l1": 1.2, "l0": 3}, "network": {"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 6},
}  # fmt: skip


def array_rig(kind: str, norm: Norm) -> Rig:
    every: frozenset[Any] = frozenset({"shift", "scale", "radius", "single"})
    return Rig(name=f"{kind} {norm}", make=lambda variant: _torch(kind, norm, variant), variants=every)


def picture_rig(kind: str) -> Rig:
    """The network, under a constraint that only pictures have."""

    def make(variant: Variant) -> Setup:
        made = _torch("network", "linf", variant)
        low, high, size = variant.low, variant.low + variant.scale, min(variant.radius, 1.0)
        turned = Spatial(degrees=30.0 * size, pixels=2.0 * size, angles=5, shifts=3, low=low, high=high)
        assert isinstance(made.case, Evade)
        within: Constraint = turned if kind == "spatial" else Patch(0.12 * size, low, high)
        return replace(made, case=replace(made.case, within=within))

    return Rig(name=kind, make=make, variants=frozenset({"shift", "scale", "radius", "single"}))


def points(shape: tuple[int, ...], seed: int = 3) -> NDArray[np.float64]:
    """One input for each of `ROWS`, on the grid of an 8-bit image and with values at both ends of it."""
    x = np.random.default_rng(seed).integers(0, 257, (len(ROWS), *shape)) / 256
    x.reshape(len(x), -1)[:, 0], x.reshape(len(x), -1)[:, 1] = 0.0, 1.0
    return x


def _torch(kind: str, norm: Norm, variant: Variant) -> Setup:
    from ..targets.wrap import wrap
    from ._nets import Counted, linear, smooth

    tally, parent = Tally(), Tally()
    shape = (12,) if kind == "linear" else (1, 6, 6)
    nets = [linear(12, 3, 5, n) if kind == "linear" else smooth(6, 4, 5, n) for n in (0.0, 0.1)]
    units = {"low": variant.low, "scale": variant.scale}
    model = wrap(Counted(nets[0], tally, shift=variant.shift, **units).eval(), name=f"toy {kind}")
    other = wrap(Counted(nets[1], parent, **units).eval(), name="toy parent")
    x = variant.low + variant.scale * points(shape)
    y = to_numpy(model.respond(x).label)
    radius = variant.radius * RADII[kind][norm] * (1.0 if norm == "l0" else variant.scale)
    ball = Ball(norm, radius, variant.low, variant.low + variant.scale)
    case = Evade(x.astype(np.float32) if variant.single else x, y, within=ball, row=ROWS.copy())
    tally.rows = 0
    known = Known(parent=other, data=(x.copy(), y.copy()))
    return Setup(case=case, target=model, known=known, tally=tally, parent=parent)


@dataclass(frozen=True)
class Stumps:
    """Votes of thresholds on single values: scores with plateaus, as trees have them."""

    tally: Tally
    place: NDArray[np.int64]
    cut: NDArray[np.float64]
    vote: NDArray[np.int64]
    low: float = 0.0
    scale: float = 1.0

    def __call__(self, x: Any) -> NDArray[np.float64]:
        self.tally.rows += len(x)
        flat = (np.asarray(x, np.float64).reshape(len(x), -1) - self.low) / self.scale
        up = ((flat[:, self.place] > self.cut) ^ (self.vote > 0)).mean(1)
        return np.stack([1 - up, up], 1)


def stumps_setup(variant: Variant) -> Setup:
    from ..targets.wrap import wrap

    rng, tally = np.random.default_rng(8), Tally()
    # Cuts off the grid of an 8-bit image: a cut that an input sits on would be decided by rounding.
    model = Stumps(tally, rng.integers(0, 12, 41), rng.uniform(0.2, 0.8, 41), rng.integers(0, 2, 41), variant.low, variant.scale)
    target = wrap(model, output="scores", classes=2, version="1", name="toy stumps")
    x = variant.low + variant.scale * points((12,))
    y = target.respond(x).label
    tally.rows = 0
    ball = Ball("linf", 0.2 * variant.scale * variant.radius, variant.low, variant.low + variant.scale)
    known = Known(data=(x.copy(), y.copy()))
    return Setup(case=Evade(x, y, within=ball, row=ROWS.copy()), target=target, known=known, tally=tally)


class _CountedModel:
    """A model that counts the rows it is asked about, and is the same otherwise."""

    def __init__(self, model: Any, tally: Tally) -> None:
        self._model, self._tally = model, tally

    def forward(self, x: Any) -> Any:
        self._tally.rows += len(x)
        return self._model.forward(x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@functools.cache
def _forest(low: float, scale: float) -> Any:
    """A small forest behind a scaler, as a model; trained and read once for each domain, because that is slow.

    Trees split in float32, and inputs in other units are other numbers: the scaler makes the same problem of them.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    from ..targets.wrap import wrap

    x = np.random.default_rng(12).random((120, 4))
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0.8).astype(np.int64) + (x[:, 3] > 0.8)
    scaler = MinMaxScaler().fit(low + scale * np.array([[0.0] * 4, [1.0] * 4]))
    target: Any = wrap(make_pipeline(scaler, RandomForestClassifier(5, max_depth=3, random_state=0).fit(x, y)), name="toy forest")
    return target


def counted_forest(tally: Tally) -> Any:
    """A small forest on inputs in [0, 1] that counts the rows it is asked about."""
    target = _forest(0.0, 1.0)
    return target.replace(model=_CountedModel(target.model, tally))


def tree_rig(norm: Norm) -> Rig:
    def make(variant: Variant) -> Setup:
        tally, target = Tally(), _forest(variant.low, variant.scale)
        target = target.replace(model=_CountedModel(target.model, tally))
        x = variant.low + variant.scale * points((4,))
        y = to_numpy(target.respond(x).label)
        radius = variant.radius * {"linf": 0.25, "l2": 0.3, "l1": 0.35, "l0": 1}[norm]
        ball = Ball(norm, radius * (1.0 if norm == "l0" else variant.scale), variant.low, variant.low + variant.scale)
        case = Evade(x.astype(np.float32) if variant.single else x, y, within=ball, row=ROWS.copy())
        tally.rows = 0
        return Setup(case=case, target=target, known=Known(data=(x.copy(), y.copy())), tally=tally)

    return Rig(name=f"trees {norm}", make=make, variants=frozenset({"scale", "radius", "single"}))


def columns_setup(variant: Variant) -> Setup:
    """Rows of numbers with names: a linear model that can be differentiated, and relations between its columns."""
    from ..targets.wrap import wrap
    from ._nets import Counted, linear

    tally, rng, n = Tally(), np.random.default_rng(6), 6
    x = np.concatenate([rng.uniform(20, 80, (n, 2)), rng.integers(0, 5, (n, 1)), np.eye(3)[rng.integers(0, 3, n)]], 1)
    x[:, 1] = np.maximum(x[:, 0], x[:, 1])
    model = wrap(Counted(linear(6, 2, 5, 0.0), tally, low=0.0, scale=1.0).eval(), name="toy columns")
    y = to_numpy(model.respond(x).label)
    tally.rows = 0
    within = Table(
        columns={
            "paid": Column(kind="real", low=0, high=100), "owed": Column(kind="real", low=0, high=100, direction=1),
            "cards": Column(kind="int", low=0, high=9), **{name: Column(kind="int", low=0, high=1) for name in ("a", "b", "c")},
        },
        relations={"no more than is owed": "paid <= owed"}, names=("paid", "owed", "cards", "a", "b", "c"),
        one_of=(("a", "b", "c"),),
    )  # fmt: skip
    return Setup(case=Evade(x, y, within=within, row=ROWS[:n].copy()), target=model, tally=tally)
