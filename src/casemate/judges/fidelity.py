"""How far a copy can stand in for a model beyond the judge's own inputs: elsewhere, near the boundary, and as a way in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Copy, Replica
from ..core.entities import Prices
from ..core.random import RowRandom
from ..core.risk import Spent, priced
from ..core.target import Recipe, count, take, to_numpy
from .opinion import Points
from .statistics import clopper_pearson

Ask = Callable[[Any], NDArray[Any]]  # inputs -> deployed decisions (n,); counted as the judge's
Agree = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_]]
ELSEWHERE, PAIRS, ROWS = 128, 64, 32
_WIDEST = 256  # features up to which slopes of a copy are taken one by one
_STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of a feature's standard deviation
_KEYS = RowRandom(0xF1DE)  # the judge's draws are the same for every attack, so that copies are compared on the same inputs


def elsewhere(case: Copy, copy: Replica, label: NDArray[Any], ask: Ask, agree: Agree) -> dict[str, Any]:
    """Agreement ``[rate, low, high]`` on inputs all over the domain, and half-way between rows decided differently.

    All over: uniform where a domain is stated, else every column drawn for itself from the judge's inputs. Half-way only where
    inputs are real numbers, and only where labels differ.
    """
    found = {"fidelity_uniform": _rate(copy, _anywhere(case), ask, agree)}
    between = _between(case, label)
    if between is not None:
        found["fidelity_boundary"] = _rate(copy, between, ask, agree)
    return {name: value for name, value in found.items() if value is not None}


def _rate(copy: Replica, x: Any, ask: Ask, agree: Agree) -> list[float] | None:
    deployed = ask(x)
    try:
        own = np.asarray(to_numpy(copy.labels(x)))
    except Exception:  # noqa: BLE001 - a copy is the attacker's code: where it fails it agrees with nothing
        own = np.full(len(deployed), np.nan)
    if own.shape != deployed.shape:
        return None
    hits = int(agree(own, deployed).sum())
    interval = clopper_pearson(hits, len(deployed))
    return [hits / len(deployed), interval.low, interval.high]


def _anywhere(case: Copy) -> Any:
    assert case.truth is not None  # the caller judged on it
    x, ids = case.truth.x, np.arange(ELSEWHERE)
    if hasattr(x, "iloc"):
        frame = take(x, _KEYS.integers(ids, (0, 0), count(x))).reset_index(drop=True)
        for place, name in enumerate(frame.columns):
            frame[name] = x[name].to_numpy()[_KEYS.integers(ids, (0, 1 + place), count(x))]
        return frame.astype(x.dtypes)
    rows = np.asarray(to_numpy(x))
    if case.low is not None and case.high is not None and rows.dtype.kind == "f":
        low, high = np.asarray(case.low, float), np.asarray(case.high, float)
        return (low + (high - low) * _KEYS.uniform(ids, (0, 0), rows.shape[1:])).astype(rows.dtype)
    flat = rows.reshape(len(rows), -1)
    drawn = (_KEYS.uniform(ids, (0, 0), (flat.shape[1],)) * len(rows)).astype(int)
    return flat[drawn, np.arange(flat.shape[1])].reshape(ELSEWHERE, *rows.shape[1:])


def _between(case: Copy, label: NDArray[Any]) -> Any:
    assert case.truth is not None  # the caller judged on it
    rows = case.truth.x if hasattr(case.truth.x, "iloc") else np.asarray(to_numpy(case.truth.x))
    if hasattr(rows, "iloc") or rows.dtype.kind != "f":
        return None
    ids = np.arange(8 * PAIRS)
    a, b = (_KEYS.integers(ids, (1, side), len(rows)) for side in (0, 1))
    apart = np.array([bool(p != q) for p, q in zip(label[a].tolist(), label[b].tolist(), strict=True)])
    a, b = a[apart][:PAIRS], b[apart][:PAIRS]
    return ((rows[a] + rows[b]) / 2).astype(rows.dtype) if len(a) else None


def transfer(case: Copy, copy: Replica, ask: Ask) -> dict[str, Any] | None:
    """How often a change that turns the copy's decision turns the deployed one: one step up the copy's slope for each row.

    None where the copy has no scores, or inputs are no short vectors of real numbers. Only rows on which both agreed at first
    and whose decision the step turned on the copy count.
    """
    assert case.truth is not None  # the caller judged on it
    x = case.truth.x if hasattr(case.truth.x, "iloc") else np.asarray(to_numpy(case.truth.x))
    if copy.scores is None or hasattr(x, "iloc") or x.dtype.kind != "f" or x[0].size > _WIDEST:
        return None
    spread = x.reshape(len(x), -1).std(0).reshape(x.shape[1:])
    x = x[:ROWS]
    try:
        first, moved, turned = _stepped(copy, x, spread, case)
    except Exception:  # noqa: BLE001 - a copy is the attacker's code: one that fails gives no way in
        return None
    deployed = ask(np.concatenate([x, moved]))
    before, after = deployed[: len(x)], deployed[len(x) :]
    counted = turned & (first == before)
    hits, n = int((counted & (after != before)).sum()), int(counted.sum())
    return {"rows": len(x), "turned_copy": n, "turned_target": hits, "share": hits / n if n else None}


def _stepped(copy: Replica, x: Any, spread: Any, case: Copy) -> tuple[NDArray[Any], Any, NDArray[np.bool_]]:
    """The copy's decisions ``(n,)``, inputs after the shortest step that turns them, and whether one did."""
    assert copy.scores is not None  # the caller looked
    first = np.asarray(copy.labels(x))
    place = np.asarray(copy.scores(x)).argmax(1)
    size, d = spread.reshape(-1), x[0].size
    flat = x.reshape(len(x), d).astype(np.float64)
    near = np.repeat(flat, 2 * d, axis=0).reshape(len(x), 2, d, d)
    near[:, 0] += np.diag(1e-3 * size)
    near[:, 1] -= np.diag(1e-3 * size)
    shown = np.asarray(copy.scores(near.reshape(-1, *x.shape[1:]).astype(x.dtype)), np.float64)
    logs = np.log(np.maximum(shown, 1e-12)).reshape(len(x), 2, d, -1)
    own = np.take_along_axis(logs, place[:, None, None, None], 3)[..., 0]
    rest = np.log(np.maximum(np.exp(logs).sum(3) - np.exp(own), 1e-12))
    way = -np.sign((own - rest)[:, 0] - (own - rest)[:, 1])
    moved, turned = flat.copy(), np.zeros(len(x), bool)
    low = -np.inf if case.low is None else np.asarray(case.low, float).reshape(-1)
    high = np.inf if case.high is None else np.asarray(case.high, float).reshape(-1)
    for step in _STEPS:
        tried = np.clip(flat + step * size * way, low, high)
        now = ~turned & (np.asarray(copy.labels(tried.reshape(x.shape).astype(x.dtype))) != first)
        moved[now], turned = tried[now], turned | now
    return first, moved.reshape(x.shape).astype(x.dtype), turned


def ceiling(recipe: Recipe, x: Any, agree: Agree) -> float:
    """How often two models of the same training, with seeds 0 and 1, decide alike: no copy can be asked for more.

    What has no randomness gives 1.
    """
    one, two = (np.asarray(to_numpy(recipe.fit(recipe.x, recipe.y, seed).respond(x).label)) for seed in (0, 1))
    return float(agree(one, two).mean())


def against_money(points: Points, prices: Prices) -> Points:
    """A curve against queries as a curve against money, by the description's prices; empty where queries have none."""
    found: Points = []
    for queries, *rest in points:
        paid = priced(Spent(queries=queries), prices, None)
        if paid.total is None or "per_1000_queries" in paid.unstated:
            return []
        found.append((paid.total, rest[0], rest[1], rest[2]))
    return found
