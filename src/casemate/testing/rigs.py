"""Rigs: a small target, a case and a counter for every kind of attack, made afresh for every trial.

An attack of an unusual kind brings a `Rig` of its own: ``check_attack(mine, rigs=[Rig(name="audio", make=...)])``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Budget, Need
from ..core.case import AnyCase, Copy, Evade, Holdout, Infer, Poison, Smuggle, Stall
from ..core.constraint import Ball, Constraint, Norm
from ..core.oracle import Known
from ..core.patch import Patch
from ..core.sequences import Bytes, Text
from ..core.spatial import Spatial
from ..core.table import Column, Table
from ..core.target import Recipe, Target, to_numpy

ROWS = np.array([4, 17, 2, 9, 0, 23, 11])  # ids out of order and with gaps: nothing may take them for positions


RADII: dict[str, dict[Norm, float]] = {
    "linear": {"linf": 0.12, "l2": 0.5, "l1": 1.2, "l0": 3}, "network": {"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 6},
}  # fmt: skip


class Tally:
    """Rows a model was asked about. Hidden from every hash, because counting is no change of the model."""

    def __init__(self) -> None:
        self.rows = 0

    def __getstate__(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The same problem, told differently.

    Args:
        shift: Added to every logit.
        low, scale: Inputs in ``[low, low + scale]`` instead of [0, 1], radius in proportion.
        radius: Factor on the radius; 0 makes success impossible.
        single: Inputs in float32.
    """

    shift: float = 0.0
    low: float = 0.0
    scale: float = 1.0
    radius: float = 1.0
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What one trial works with; nothing in it was used before.

    Args:
        tally: Counts the rows of the deployed model; `parent` those of the public parent.
        hold: Kept alive as long as the setup (a temporary folder, say).
    """

    case: AnyCase
    target: Target | None
    known: Known = field(default_factory=Known)
    tally: Tally = field(default_factory=Tally)
    parent: Tally = field(default_factory=Tally)
    hold: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A maker of setups.

    Args:
        make: A fresh setup for a variant.
        variants: Which variants have a meaning here: ``shift`` of logits, ``scale`` of the domain, ``radius``, ``single``.
        budget: What an adversary may spend in a trial; left out, what the toys are tried with.
    """

    name: str
    make: Callable[[Variant], Setup]
    variants: frozenset[Literal["shift", "scale", "radius", "single"]] = frozenset()
    budget: Budget | None = None


def rigs_for(info: Any) -> list[Rig]:
    """The rigs that fit an attack, by its case and modality."""
    if info.case == "evade":
        found = []
        if Need.STRUCTURE in info.needs:
            return [_trees(norm) for norm in info.norms]
        if "array" in info.modality:
            found += _on_arrays(info)
        if "bytes" in info.modality:
            found.append(Rig(name="bytes", make=_bytes))
        if "text" in info.modality:
            found.append(Rig(name="text", make=_text, budget=Budget(queries_per_row=40, gradients_per_row=5)))
        if "table" in info.modality:
            found.append(Rig(name="table", make=_table, budget=Budget(queries_per_row=20, gradients_per_row=5)))
        return found
    makers = {"poison": _poison, "infer": _infer, "copy": _copy, "stall": _stall, "smuggle": _smuggle}
    return [Rig(name=info.case, make=makers[info.case])] if info.case in makers else []


def _on_arrays(info: Any) -> list[Rig]:
    """The rigs for the constraints on arrays that an attack knows."""
    found = []
    if "Ball" in info.within and info.norms:
        found += [_array("linear", norm) for norm in info.norms]
        found += [_array("network", info.norms[0])]
        if not info.needs & (Need.GRADIENT | Need.LOGIT | Need.PARENT):
            found.append(Rig(name="stumps", make=_stumps, variants=frozenset({"scale", "radius"})))
    if "Table" in info.within:
        found.append(Rig(name="columns", make=_columns, budget=Budget(queries_per_row=20, gradients_per_row=20)))
    return found + [_picture(kind) for kind in ("spatial", "patch") if kind.capitalize() in info.within]


# inputs that are arrays ---------------------------------------------------------------------------------------------


def _array(kind: str, norm: Norm) -> Rig:
    every: frozenset[Any] = frozenset({"shift", "scale", "radius", "single"})
    return Rig(name=f"{kind} {norm}", make=lambda variant: _torch(kind, norm, variant), variants=every)


def _picture(kind: str) -> Rig:
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


def _stumps(variant: Variant) -> Setup:
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


def _trees(norm: Norm) -> Rig:
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


# inputs that are not ------------------------------------------------------------------------------------------------


def counted(tally: Tally, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that counts the rows it is given."""

    def ask(x: Any) -> Any:
        tally.rows += len(x)
        return function(x)

    return ask


def _heavy(x: list[bytes]) -> NDArray[np.float64]:
    """How much of each string is in the upper half of the alphabet of bytes."""
    share = np.array([np.mean(np.frombuffer(row, np.uint8) > 127) for row in x])
    up = 1 / (1 + np.exp(-30 * (share - 0.5)))
    return np.stack([1 - up, up], 1)


def _append(row: bytes, origin: bytes, rng: np.random.Generator) -> bytes:
    return row + rng.integers(0, 256, int(rng.integers(1, 6)), dtype=np.uint8).tobytes()


def _starts(changed: bytes, origin: bytes) -> bool:
    return changed.startswith(origin)


def _bytes(variant: Variant) -> Setup:
    from ..targets.wrap import wrap

    tally, rng = Tally(), np.random.default_rng(4)
    shares = np.linspace(0.36, 0.47, len(ROWS))
    x = [bytes(np.where(rng.random(40) < s, 200, 60).astype(np.uint8)) for s in shares]
    target = wrap(counted(tally, _heavy), output="scores", classes=2, version="1", name="toy bytes")
    y = target.respond(x).label
    tally.rows = 0
    within = Bytes(valid=_starts, edit=_append, grow=64)
    return Setup(case=Evade(x, y, within=within, row=ROWS.copy()), target=target, tally=tally)


RUDE = {"idiot": 2.0, "stupid": 1.5, "crap": 1.2, "fool": 1.1, "nice": -0.8, "thanks": -1.0}
OTHER_WORDS = {"idiot": ("person",), "stupid": ("unwise", "silly"), "crap": ("stuff",), "fool": ("fellow",)}
COMMENTS = (
    "you are an idiot", "what a stupid thing to say", "Thanks, you fool!", "this is crap and you are stupid",
    "don't be such a fool", "idiot, idiot, idiot", "nice try, stupid",
)  # fmt: skip


def _rude(x: list[str]) -> NDArray[np.float64]:
    """How rude the words are, each by itself: a model of a bag of words, as real ones are."""
    z = np.array([sum(RUDE.get(word, 0.0) for word in re.findall(r"\w+", row.lower())) for row in x])
    up = 1 / (1 + np.exp(-4 * (z - 0.4)))
    return np.stack([1 - up, up], 1)


def _other_words(word: str) -> tuple[str, ...]:
    return OTHER_WORDS.get(word.lower(), ())


def _text(variant: Variant) -> Setup:
    from ..targets.wrap import wrap

    tally = Tally()
    target = wrap(counted(tally, _rude), output="scores", classes=2, version="1", name="toy comments")
    case = Evade(list(COMMENTS), np.ones(len(COMMENTS), np.int64), within=Text(6, words=_other_words), row=ROWS.copy())
    return Setup(case=case, target=target, tally=tally)


def _credit(frame: Any) -> NDArray[np.float64]:
    z = 0.02 * (frame["income"].to_numpy(float) - 50) - 0.1 * frame["loans"].to_numpy(float)
    z = z + 0.3 * (frame["home"].to_numpy() == "own") - 0.01 * (frame["age"].to_numpy(float) - 40)
    up = 1 / (1 + np.exp(-6 * z))
    return np.stack([1 - up, up], 1)


def _table(variant: Variant) -> Setup:
    import pandas

    from ..targets.wrap import wrap

    tally, rng = Tally(), np.random.default_rng(6)
    n = 5  # frames are slow, row by row
    x = pandas.DataFrame({
        "income": rng.uniform(20, 80, n), "loans": rng.integers(0, 5, n), "age": rng.integers(20, 70, n),
        "home": np.where(rng.random(n) < 0.5, "own", "rent"),
    })  # fmt: skip
    target = wrap(counted(tally, _credit), output="scores", classes=2, version="1", name="toy credit")
    y = target.respond(x).label
    tally.rows = 0
    within = Table(columns={
        "income": Column(kind="real", low=0, high=100), "loans": Column(kind="int", low=0, high=9, direction=1),
        "age": Column(kind="int", low=18, high=99, immutable=True), "home": Column(kind="category", values=("own", "rent")),
    })  # fmt: skip
    return Setup(case=Evade(x, y, within=within, row=ROWS[:n].copy()), target=target, tally=tally)


def _columns(variant: Variant) -> Setup:
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


# sets ---------------------------------------------------------------------------------------------------------------


def cloud(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two overlapping clouds in four dimensions."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return rng.normal(size=(n, 4)) + 1.2 * (y[:, None] - 0.5), y


@dataclass(frozen=True)
class Centroids:
    """Decide for the nearer mean."""

    means: NDArray[np.float64]
    tally: Tally

    def __call__(self, x: Any) -> NDArray[np.float64]:
        self.tally.rows += len(x)
        return np.asarray(-((np.asarray(x, float)[:, None] - self.means[None]) ** 2).sum(2))


def fit_centroids(x: Any, y: Any, seed: int, tally: Tally | None = None) -> Target:
    """The simplest training there is; the seed decides nothing."""
    from ..targets.wrap import wrap

    x, y = np.asarray(x, float), np.asarray(y)
    means = np.stack([x[y == c].mean(0) if (y == c).any() else np.zeros(x.shape[1]) for c in (0, 1)])
    return wrap(Centroids(means, tally or Tally()), output="logits", classes=2, version="1", name="toy centroids")


def _trained(tally: Tally, n: int = 60) -> tuple[Recipe, Target, Holdout]:
    x, y = cloud(n, 1)
    fresh = cloud(n, 2)
    return Recipe(fit_centroids, x, y, "1"), fit_centroids(x, y, 0, tally), Holdout(x=fresh[0], y=fresh[1])


def _poison(variant: Variant) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally)
    known = Known(data=(recipe.x, recipe.y), recipe=recipe)
    return Setup(case=Poison(recipe=recipe, seeds=(0,), truth=truth), target=target, known=known, tally=tally)


def _infer(variant: Variant) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally)
    x, y = np.concatenate([recipe.x, truth.x]), np.concatenate([recipe.y, truth.y])
    known = Known(data=(recipe.x[:20], recipe.y[:20]), recipe=recipe)
    return Setup(case=Infer(x=x, y=y, truth=np.arange(len(y)) < 60), target=target, known=known, tally=tally)


def _copy(variant: Variant) -> Setup:
    tally = Tally()
    _, target, truth = _trained(tally)
    case = Copy(pool=cloud(80, 3)[0], low=np.full(4, -3.0), high=np.full(4, 3.0), queries=80, truth=truth)
    return Setup(case=case, target=target, tally=tally)


def _stall(variant: Variant) -> Setup:
    tally = Tally()
    _, target, truth = _trained(tally)
    return Setup(case=Stall(x=truth.x[:8], rows=300, within_s=10.0), target=target, tally=tally)


def _smuggle(variant: Variant) -> Setup:
    folder = tempfile.TemporaryDirectory(prefix="casemate-rig-")
    path = Path(folder.name, "model.safetensors")
    head = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + np.arange(4, dtype="<f4").tobytes())
    facts = {"endpoint.auth": "key", "endpoint.admin_exposed": "no", "artifact.digest_verified_at_load": "no"}
    return Setup(case=Smuggle(artifact=path, facts=facts), target=None, hold=folder)


def arrays_of(value: Any, name: str = "case") -> Iterator[tuple[str, Any]]:
    """Every array, frame or list in a case or in what the adversary knows, by name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            if not part.name.startswith("_"):
                yield from arrays_of(getattr(value, part.name), f"{name}.{part.name}")
    elif isinstance(value, np.ndarray | list) or hasattr(value, "iloc") or hasattr(value, "detach"):
        yield name, value
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from arrays_of(item, f"{name}[{i}]")


def nearest(case: AnyCase) -> AnyCase:
    """An evasion case in which no row is ever finished."""
    return replace(case, seek="nearest") if isinstance(case, Evade) else case
