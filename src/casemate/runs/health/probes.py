"""Looking at the target itself: randomness, saturation, slopes, and gradients where none are expected."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...core.case import Evade
from ...core.constraint import Ball
from ...core.endpoint import Endpoint
from ...core.oracle import Meter
from ...core.random import RowRandom
from ...core.target import Target, to_numpy
from .witness import differ

ROWS = 4  # rows of a probe that asks many times about each
DIRECTIONS = 16
POINTS = 25
STEP = 1e-3  # of the domain, for each value: far enough for float32, near enough to stay on one piece of most networks


def unsteady(few: Evade, endpoint: Endpoint, meter: Meter) -> bool:
    """Check 5: whether five answers to the same question differ."""
    answers = [endpoint.decide(few.x, few.row, draw) for draw in range(5)]
    meter.count("health", 5 * len(few))
    return any(bool(differ(answers[0], answer).any()) for answer in answers[1:])


def saturation(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 6: scores so near one that cross-entropy underflows."""
    response = endpoint.target.respond(few.x, rows=few.row)
    meter.count("health", len(few))
    if response.scores is None:
        return {}
    scores = to_numpy(response.scores).astype(float)
    logits = None if response.logits is None else to_numpy(response.logits).astype(float)
    probabilities = logits is not None and bool((logits >= 0).all() and np.allclose(logits.sum(1), 1, atol=1e-3))
    sharp = int((scores.max(1) >= 1 - 1e-7).sum())
    return {"saturated": sharp, "probabilities": probabilities, "classes_seen": scores.shape[1]}


def slopes(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 7: rows whose slope is zero or not finite, at the input and at a random point of the ball."""
    y = to_numpy(few.y)
    points = [few.x]
    if isinstance(few.within, Ball):
        points.append(few.within.sample(to_numpy(few.x), RowRandom(7), few.row, 0))
    bad = np.zeros(len(few), bool)
    for x in points:
        slope = endpoint.target.gradient(x, y, few.loss or few.goal.loss, rows=few.row).slope
        meter.count("health", len(few))
        flat = to_numpy(slope).reshape(len(few), -1)
        bad |= ~np.isfinite(flat).all(1) | (np.abs(np.nan_to_num(flat)).max(1) == 0)
    return {"dead_slopes": int(bad.sum())}


def agreement(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 8: whether the slope says what the loss does. Along random directions the two are compared, row by row."""
    ball, target = few.within, endpoint.target
    if not isinstance(ball, Ball) or target.random:
        return {}
    few = few.only(np.arange(min(ROWS, len(few))))
    x, y = to_numpy(few.x).astype(np.float64), to_numpy(few.y)
    loss = few.loss or few.goal.loss
    slope = to_numpy(target.gradient(x, y, loss, rows=few.row).slope).reshape(len(few), -1).astype(np.float64)
    meter.count("health", len(few) * (1 + 2 * DIRECTIONS))
    step, rng = STEP * (ball.high - ball.low), RowRandom(8)
    told, seen = [], []
    for k in range(DIRECTIONS):
        way = np.sign(rng.uniform(few.row, k, x.shape[1:]) - 0.5)
        ahead, behind = (_loss(few, target, x + side * step * way, y, loss) for side in (1, -1))
        seen.append((ahead - behind) / (2 * step))
        told.append((slope * way.reshape(len(few), -1)).sum(1))
    a, b = np.stack(told, 1), np.stack(seen, 1)
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.where(size > 0, (a * b).sum(1) / np.where(size > 0, size, 1), 0.0)
    flat = (np.abs(b).max(1) == 0) & (np.abs(a).max(1) > 0)
    stages = [stage.name for stage in getattr(target, "stages", ()) if stage.backward != "auto"]
    return {
        "slopes_compared": len(few), "crooked": int(((cosine < 0.5) & (size > 0)).sum() + flat.sum()),
        "crooked_dead": int((size == 0).sum() - flat.sum()), "stand_ins": stages,
    }  # fmt: skip


def _loss(few: Evade, target: Target, x: Any, y: Any, loss: Any) -> Any:
    response = target.respond(x, rows=few.row)
    shown = response.logits if response.logits is not None else response.scores
    if shown is None:
        return np.zeros(len(few))
    tensor = hasattr(shown, "gather")
    return np.asarray(to_numpy(loss(shown, shown.new_tensor(y).long() if tensor and y.dtype.kind in "iub" else y)), np.float64)


def stability(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 9: how much the loss jumps about between near points of the ball: its relative change, at most 1."""
    ball, target = few.within, endpoint.target
    if not isinstance(ball, Ball) or not np.isfinite(ball.radius) or target.random or not ball.radius:
        return {}
    few = few.only(np.arange(min(ROWS, len(few))))
    x, y, loss, rng = to_numpy(few.x), to_numpy(few.y), few.loss or few.goal.loss, RowRandom(9)
    here = _loss(few, target, x, y, loss)
    near = Ball(ball.norm, max(ball.radius / 100, 1 if ball.norm == "l0" else 0), ball.low, ball.high)
    change = []
    for k in range(POINTS):
        there = _loss(few, target, near.sample(x, rng, few.row, k).astype(x.dtype, copy=False), y, loss)
        change.append(np.minimum(1.0, np.abs(there - here) / np.maximum(np.abs(here), 1e-12)))
    meter.count("health", len(few) * (POINTS + 1))
    return {"jumps": float(np.mean(change)), "jumps_rows": len(few)}


def purifies(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 19: whether answering builds a graph to differentiate, as a purification or an optimisation inside would."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    packed = 0

    def pack(tensor: Any) -> Any:
        nonlocal packed
        packed += 1
        return tensor

    one = few.only(np.arange(1))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        endpoint.target.respond(one.x, rows=one.row)
    meter.count("health", 1)
    return {"graphs": packed}
