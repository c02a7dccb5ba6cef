"""Rigs for cases that are one whole: training data, candidates, a pool, an endpoint, a file."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from ..core.availability import Drill, Harvest
from ..core.case import (
    Aim,
    Attribute,
    Audit,
    Backdoor,
    Copy,
    Holdout,
    Infer,
    Invert,
    Leak,
    Misread,
    Poison,
    Property,
    Smuggle,
    Stall,
)
from ..core.disclosure import filled
from ..core.federated import Federated
from ..core.fetch import Fetch
from ..core.goal import Becomes
from ..core.oracle import Known
from ..core.poison import Adopt, Records
from ..core.target import REJECT, Recipe, Target
from .rig import Setup, Tally, Variant


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


def poison_setup(variant: Variant) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally)
    known = Known(data=(recipe.x, recipe.y), recipe=recipe)
    case = Poison(recipe=recipe, seeds=(0,), truth=truth)
    return Setup(case=case, target=target, known=known, tally=tally, retrain=_counted(recipe, tally))


def _aimed(aim: Aim, labels: bool) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally)
    known = Known(data=(recipe.x, recipe.y), recipe=recipe)
    case = Poison(recipe=recipe, seeds=(0,), truth=truth, aim=aim, labels=labels)
    return Setup(case=case, target=target, known=known, tally=tally)


def backdoor_setup(variant: Variant) -> Setup:
    return _aimed(Backdoor(to=0), labels=True)


def misread_setup(variant: Variant) -> Setup:
    x, y = cloud(6, 4)
    return _aimed(Misread(x=x, y=y, to=1 - y), labels=False)


def infer_setup(variant: Variant) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally, 80)  # of whom 60 are candidates: the others are nobody's business
    x, y = np.concatenate([recipe.x[:60], truth.x[:60]]), np.concatenate([recipe.y[:60], truth.y[:60]])
    known = Known(data=(recipe.x[:20], recipe.y[:20]), recipe=recipe)
    others = cloud(60, 4)
    case = Infer(x=x, y=y, truth=np.arange(len(y)) < 60, population=Holdout(x=others[0], y=others[1]))
    return Setup(case=case, target=target, known=known, tally=tally, retrain=_counted(recipe, tally))


def _counted(recipe: Recipe, tally: Tally) -> Callable[[Records], Target]:
    """How the owner trains again, with records added at the end, and rows counted as of the first model."""

    def retrain(records: Records) -> Target:
        x, y = np.concatenate([recipe.x, records.x]), np.concatenate([recipe.y, records.y])
        return fit_centroids(x, y, 0, tally)

    return retrain


def audit_setup(variant: Variant) -> Setup:
    """Canaries with wrong labels, a third as many as there is honest training data, in by fair coins."""
    tally = Tally()
    x, y = cloud(60, 1)
    canaries, right = cloud(40, 5)
    truth = np.random.default_rng(6).random(40) < 0.5
    target = fit_centroids(np.concatenate([x, canaries[truth]]), np.concatenate([y, 1 - right[truth]]), 0, tally)
    case = Audit(x=canaries, y=1 - right, truth=truth, epsilon=2.0)
    return Setup(case=case, target=target, known=Known(recipe=Recipe(fit_centroids, x, y, "1")), tally=tally)


def attribute_setup(variant: Variant) -> Setup:
    """The last column is the sign of another one, plus noise; half of the candidates are members."""
    tally = Tally()
    (x, y), (fresh, other), (people, own) = (cloud(60, seed) for seed in (1, 2, 4))
    for part, seed in ((x, 11), (fresh, 12), (people, 14)):
        part[:, 3] = part[:, 0] + np.random.default_rng(seed).normal(size=60) > 0
    target = fit_centroids(x, y, 0, tally)
    records = np.concatenate([x[:30], fresh[:30]])
    case = Attribute(
        x=filled(records, 3, 0.0), y=np.concatenate([y[:30], other[:30]]), column=3, values=(0.0, 1.0), truth=records[:, 3],
        member=np.arange(60) < 30, population=Holdout(x=people, y=own),
    )  # fmt: skip
    return Setup(case=case, target=target, known=Known(recipe=Recipe(fit_centroids, x, y, "1")), tally=tally)


def property_setup(variant: Variant) -> Setup:
    """The group lies to one side, so that means move with its share."""
    tally = Tally()
    recipe, target, truth = _trained(tally)
    pool = cloud(120, 7)
    case = Property(
        recipe=recipe, pool=Holdout(x=pool[0], y=pool[1]), flag=pool[0][:, 0] > 0, size=40, victims=3, truth=truth,
        truth_flag=truth.x[:, 0] > 0,
    )  # fmt: skip
    return Setup(case=case, target=target, known=Known(recipe=recipe), tally=tally)


def leak_setup(variant: Variant) -> Setup:
    """Three clients, two rows each, and a network whose first layer gives them away: nothing is left to search for."""
    import torch
    from torch import nn

    from ..runs.kinds.leak import gradients

    rng = np.random.default_rng(8)
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2)).double()
    with torch.no_grad():
        for part in net.parameters():
            part.copy_(torch.as_tensor(rng.normal(size=tuple(part.shape)) * 0.5))
    x, y = rng.random((6, 4)), rng.integers(0, 2, 6)
    sent = tuple(gradients(net, torch.as_tensor(x[i : i + 2]), torch.as_tensor(y[i : i + 2])) for i in (0, 2, 4))
    case = Leak(model=net, gradients=sent, rows=2, shape=(4,), truth=Holdout(x=x, y=y), others=Holdout(x=rng.random((9, 4)), y=y))
    return Setup(case=case, target=None)


def invert_setup(variant: Variant) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally)
    case = Invert(classes=(0, 1), shape=(4,), low=-3.0, high=3.0, truth=Holdout(x=recipe.x, y=recipe.y), others=truth)
    return Setup(case=case, target=target, tally=tally)


def copy_setup(variant: Variant) -> Setup:
    tally = Tally()
    recipe, target, truth = _trained(tally)
    case = Copy(pool=cloud(80, 3)[0], low=np.full(4, -3.0), high=np.full(4, 3.0), queries=80, truth=truth)
    folder = tempfile.TemporaryDirectory(prefix="casemate-rig-")
    path = Path(folder.name, "model.safetensors")
    path.write_bytes(_dense(np.stack([recipe.x[recipe.y == c].mean(0) for c in (0, 1)])))
    return Setup(case=case, target=target, known=Known(artifact=path), tally=tally, hold=folder)


def _dense(means: NDArray[np.float64]) -> bytes:
    """A safetensors file with the dense layer that decides for the nearer of `means` ``(k, d)``."""
    weight, bias = (2 * means).astype("<f4"), -(means**2).sum(1).astype("<f4")
    parts = {"weight": weight, "bias": bias}
    ends = np.cumsum([0, weight.nbytes, bias.nbytes]).tolist()
    head = {
        name: {"dtype": "F32", "shape": list(part.shape), "data_offsets": [start, end]}
        for (name, part), start, end in zip(parts.items(), ends[:-1], ends[1:], strict=True)
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, weight.tobytes(), bias.tobytes()])


def stall_setup(variant: Variant) -> Setup:
    tally = Tally()
    _, target, truth = _trained(tally)
    return Setup(case=Stall(x=truth.x[:8], rows=300, within_s=10.0), target=target, tally=tally)


def drill_setup(variant: Variant) -> Setup:
    """Who is decided 1 wants 0. What the model does not answer is sent to a person."""
    tally = Tally()
    _, target, truth = _trained(tally)
    usual = target.respond(truth.x).label
    x, y, tally.rows = truth.x[usual == 1][:6], truth.y[usual == 1][:6], 0

    def around(model: Any) -> Callable[[Any], Any]:
        def decide(x: Any) -> Any:
            try:
                label = model.respond(x).label
            except Exception:  # noqa: BLE001 - whatever the model does
                label = np.full(len(x), REJECT)
            return label if len(label) == len(x) and np.isfinite(label).all() else np.full(len(x), REJECT)

        return decide

    case = Drill(x=x, y=y, usual=np.ones(len(x), int), fallback=around, goal=Becomes(0))
    return Setup(case=case, target=target, tally=tally)


def harvest_setup(variant: Variant) -> Setup:
    tally = Tally()
    _, target, truth = _trained(tally)
    return Setup(case=Harvest(x=truth.x[:8], price=0.01, rows=300), target=target, tally=tally)


def smuggle_setup(variant: Variant) -> Setup:
    folder = tempfile.TemporaryDirectory(prefix="casemate-rig-")
    path = Path(folder.name, "model.safetensors")
    head = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + np.arange(4, dtype="<f4").tobytes())
    facts = {"endpoint.auth": "key", "endpoint.admin_exposed": "no", "artifact.digest_verified_at_load": "no"}
    return Setup(case=Smuggle(artifact=path, facts=facts), target=None, hold=folder)


def backdoor_pictures_setup(variant: Variant) -> Setup:
    """The same with pictures of 6 x 6: for marks that only pictures can carry."""
    tally = Tally()
    rng = np.random.default_rng(5)
    y = np.arange(60) % 2
    x = np.clip(0.5 + 0.2 * rng.normal(size=(120, 6, 6)) + 0.1 * (np.concatenate([y, y])[:, None, None] - 0.5), 0, 1)
    recipe = Recipe(_fit_flat, x[:60], y, "1")
    case = Poison(recipe=recipe, seeds=(0,), truth=Holdout(x=x[60:], y=y), aim=Backdoor(to=0))
    return Setup(case=case, target=_fit_flat(x[:60], y, 0, tally), known=Known(data=(x[:60], y), recipe=recipe), tally=tally)


def _fit_flat(x: Any, y: Any, seed: int, tally: Tally | None = None) -> Target:
    from ..targets.wrap import wrap

    inner = fit_centroids(np.asarray(x, float).reshape(len(x), -1), y, seed, tally)
    return wrap(lambda x: inner.respond(np.asarray(x, float).reshape(len(x), -1)).logits, output="logits", classes=2, version="1")


def adopt_setup(variant: Variant) -> Setup:
    from .digits import SmallNet

    fit = SmallNet(hidden=4, epochs=2, classes=2)
    (x, y), mine, fresh = cloud(40, 1), cloud(40, 6), cloud(60, 2)
    parent = fit(*mine, 0)
    case = Adopt(parent=parent, finetune=_refit, x=x, y=y, aim=Backdoor(to=0), seeds=(0,), truth=Holdout(x=fresh[0], y=fresh[1]))
    return Setup(case=case, target=None, known=Known(data=mine, parent=parent))


def _refit(parent: Target, x: Any, y: Any, seed: int) -> Target:
    """The least that can be called fine-tuning: nothing is changed."""
    return parent


def fetch_setup(variant: Variant) -> Setup:
    folder = tempfile.TemporaryDirectory(prefix="casemate-rig-")
    path = Path(folder.name, "files.txt")
    path.write_text("https://data.example/one.csv\nhttps://data.example/two.csv\n")
    return Setup(case=Fetch(manifest=path, loader=_careless), target=None, hold=folder)


def _careless(manifest: Path) -> list[bytes]:
    """A loader that takes whatever a URL gives."""
    found = []
    for url in manifest.read_text().split():
        with urlopen(url, timeout=10) as answer:  # noqa: S310  the local server of the drill
            found.append(answer.read())
    return found


def federated_setup(variant: Variant) -> Setup:
    """Twelve clients near a common step, three of them the attacker's; the error is how far the joint model ends from it."""
    rng = np.random.default_rng(9)
    start, step = rng.normal(size=6), rng.normal(size=6)
    sent = step + 0.2 * rng.normal(size=(12, 6))
    case = Federated(start=start, updates=sent, attackers=3, evaluate=_Off(start + step), wanted=start - 2 * step)
    return Setup(case=case, target=None)


@dataclass(frozen=True)
class _Off:
    """How far parameters lie from where they ought to."""

    goal: NDArray[np.float64]

    def __call__(self, params: Any) -> float:
        return float(np.linalg.norm(params - self.goal))


SET_RIGS: dict[str, Callable[[Variant], Setup]] = {
    "poison": poison_setup, "backdoor": backdoor_setup, "misread": misread_setup, "infer": infer_setup, "audit": audit_setup,
    "copy": copy_setup, "stall": stall_setup, "smuggle": smuggle_setup, "attribute": attribute_setup,
    "property": property_setup, "invert": invert_setup, "leak": leak_setup, "drill": drill_setup,
    "harvest": harvest_setup, "fetch": fetch_setup, "adopt": adopt_setup,
    "federated": federated_setup,
}  # fmt: skip
