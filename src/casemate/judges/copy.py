"""Judging a copy: how often it decides as the target does, on inputs the attacker never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Copy, Holdout, Replica
from ..core.endpoint import Endpoint
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check
from ..core.oracle import Meter
from ..core.target import Recipe, count, take, to_numpy
from .fidelity import ceiling, elsewhere, transfer
from .opinion import Opinion, Points, column
from .statistics import clopper_pearson

MEASURE = "agreement with the target"
ENOUGH = 0.9  # agreement from which a copy serves in place of the model
_BATCH = 512
_TINY = 1e-300
_FLAT = 1e-6
_COARSE = 1e-3  # a boundary that is known no better than this, as a share of the line it lies on, is still being looked for
_CLASSES = 20  # more different decimal answers than this are values, not classes


def judge(
    case: Copy, claims: Sequence[tuple[int, Replica]], endpoint: Endpoint, meter: Meter, *, enough: float = ENOUGH,
    recipe: Recipe | None = None,
) -> Opinion:  # fmt: skip
    """Compare the copies handed in, each with the queries spent by then, with the deployed decisions on ``truth.x``.

    Numeric decisions agree when they differ by less than a hundredth of their standard deviation. `broken` when the last
    copy agrees on at least `enough` of the rows and the interval lies above the most common decision's share. A copy that
    does not get above that share learned nothing, and shows nothing of how well the target resists. In `extra`:
    agreement elsewhere and near the boundary, closeness of scores and parameters, whether changes that turn the copy turn the
    target too, and, with a `recipe`, how often two trainings of it agree.
    """
    if case.truth is None or not count(case.truth.x):
        raise BadInput("a copy is judged on inputs the attacker never saw; give truth= with at least one")
    label, scores = _deployed(case.truth.x, endpoint, meter)
    n, numeric = len(label), label.dtype.kind == "f" and len(np.unique(label)) > _CLASSES
    near = 0.01 * float(label.std()) if numeric else 0.0
    baseline = _baseline(label, numeric)
    if not claims:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack handed in no copy",), baseline=baseline)
    answers = [_labels(replica, case.truth.x, n) for _, replica in claims]
    agreed = [_agree(own, label, near) for own, _ in answers]
    hits = [int(a.sum()) for a in agreed]
    curve: Points = [(float(q), *_point(h, n)) for (q, _), h in zip(claims, hits, strict=True)]
    rate, interval, (queries, last), (own, error) = hits[-1] / n, clopper_pearson(hits[-1], n), claims[-1], answers[-1]
    # A constant that agrees often is no copy: it must also do better than the most common decision.
    good, learned = [h / n >= enough and clopper_pearson(h, n).low > baseline.rate for h in hits], interval.low > baseline.rate
    broken, first = good[-1], next((float(q) for (q, _), g in zip(claims, good, strict=True) if g), None)
    extra = {"enough": enough, "queries": queries, "copy": last.detail} | _closeness(last, case.truth, scores, endpoint)
    extra |= _beyond(case, last, endpoint, meter, label, near) if not error else {}
    extra |= {} if numeric else _accuracy(case.truth, label, own)
    extra |= {} if recipe is None else {"two_trainings_agree": ceiling(recipe, case.truth.x, lambda a, b: _agree(a, b, near))}
    return Opinion(
        measure=MEASURE, rate=rate, interval=interval, n=n, broken=broken, line=enough,
        why=(f"agreement {rate:.3f} {interval}; a copy counts from {enough:g} and above the {baseline.name}",),
        undecided=_undecided(last, learned, baseline),
        baseline=baseline, checks=_checks(error, last), queries=first if broken else None,
        curves={"agreement": curve}, extra=extra,
        rows={"row": np.arange(n), "label": column(label), "copy": column(own), "agreed": agreed[-1]},
    )  # fmt: skip


def _undecided(last: Replica, learned: bool, baseline: Baseline) -> str:
    """Why a copy that is no break shows nothing of the target either; empty where it does."""
    detail = last.detail
    if reason := detail.get("gave_up"):
        return f"the attack did not finish its copy: {reason}"
    if detail.get("width", 0.0) > _COARSE:
        known = f"after {detail['answers']} answers the boundary is known to {detail['width']:.1g} of a line"
        return f"the attack did not finish its copy: {known}"
    return "" if learned else f"the copy is no better than the {baseline.name} ({baseline.rate:.3f}): nothing was learned"


def _baseline(label: NDArray[Any], numeric: bool) -> Baseline:
    """What a copy that always answers the same would reach."""
    base = 0 if numeric else int(np.unique(label, return_counts=True)[1].max())
    name = "constant answer" if numeric else "majority class"
    return Baseline(name, base / len(label), clopper_pearson(base, len(label)))


def _accuracy(truth: Holdout, label: NDArray[Any], own: NDArray[Any]) -> dict[str, float]:
    y = np.asarray(to_numpy(truth.y))
    if len(y) != len(label):
        return {}
    return {"target_accuracy": float((label == y).mean()), "copy_accuracy": float(_agree(own, y, 0.0).mean())}


def _beyond(
    case: Copy, last: Replica, endpoint: Endpoint, meter: Meter, label: NDArray[Any], near: float
) -> dict[str, Any]:  # fmt: skip
    """How the copy does on other inputs than the judge's own."""

    def ask(x: Any) -> NDArray[Any]:
        return _deployed(x, endpoint, meter)[0]

    found = elsewhere(case, last, label, ask, lambda a, b: _agree(a, b, near))
    led = transfer(case, last, ask) if label.dtype.kind != "f" else None
    return found if led is None else found | {"transfer": led}


def _deployed(x: Any, endpoint: Endpoint, meter: Meter) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """What the endpoint decides and shows on inputs of the judge's."""
    labels, scores = [], []
    for start in range(0, count(x), _BATCH):
        part = np.arange(start, min(start + _BATCH, count(x)))
        meter.count("judge", len(part))
        response = endpoint.decide(take(x, part), part, 1_000_000)
        labels.append(np.asarray(to_numpy(response.label)))
        scores.append(None if response.scores is None else np.asarray(to_numpy(response.scores), np.float64))
    shown = [s for s in scores if s is not None]
    return np.concatenate(labels), np.concatenate(shown) if len(shown) == len(scores) else None


def _labels(replica: Replica, x: Any, n: int) -> tuple[NDArray[Any], str]:
    """What a copy decides; a copy that fails or answers in another shape agrees with nothing."""
    try:
        own = np.asarray(to_numpy(replica.labels(x)))
    except Exception as error:  # noqa: BLE001 - a copy is the attacker's code: what it raises is its failure
        return np.full(n, np.nan), f"{type(error).__name__}: {error}"
    return (own, "") if own.shape == (n,) else (np.full(n, np.nan), f"{own.shape} labels for {n} inputs")


def _agree(own: NDArray[Any], label: NDArray[Any], near: float) -> NDArray[np.bool_]:
    if label.dtype.kind == "f" and own.dtype.kind in "iuf":
        return np.asarray(np.abs(own - label) <= near)
    return np.array([bool(a == b) for a, b in zip(own.tolist(), label.tolist(), strict=True)])


def _point(hits: int, n: int) -> tuple[float, float, float]:
    interval = clopper_pearson(hits, n)
    return hits / n, interval.low, interval.high


def _checks(error: str, last: Replica) -> tuple[Check, ...]:
    checks = [Check(4, "claim is valid", not error, error)]
    if last.detail.get("linear") is False:
        off = f"off by {last.detail['largest_error']:.2g} on answers kept aside"
        # Not the attack's fault, but no credit to the model either: one that learns curves might still copy it.
        detail = f"does not apply: the model is not linear in its inputs ({off})"
        checks.append(Check(34, "copy holds on answers kept aside", False, detail))
    return tuple(checks)


def _closeness(last: Replica, truth: Holdout, scores: NDArray[Any] | None, endpoint: Endpoint) -> dict[str, Any]:
    """How near the copy comes in scores and, where both sides show them, in parameters."""
    found: dict[str, Any] = {}
    if scores is not None and last.scores is not None:
        own = np.asarray(last.scores(truth.x), np.float64)
        if own.shape == scores.shape:
            found["total_variation"] = float(np.abs(own - scores).sum(1).mean() / 2)
            ratio = np.log(np.maximum(scores, _TINY)) - np.log(np.maximum(own, _TINY))
            found["kl_divergence"] = float(np.where(scores > 0, scores * ratio, 0.0).sum(1).mean())  # nats, target from copy
            # Where the target's own scores have saturated there is no log-ratio to compare with.
            kept = ((scores > _FLAT) & (scores < 1 - _FLAT)).all(1)
            if kept.any():
                logs = [np.log(np.maximum(s[kept], _TINY)) for s in (own, scores)]
                found["log_ratio_error"] = float(np.abs(np.diff(logs[0], axis=1) - np.diff(logs[1], axis=1)).max())
    true = linear_parameters(endpoint.target)
    if true is not None and "direction" in last.parameters and true[0].shape[1] == 1:
        weights, length = true[0][:, 0], float(np.linalg.norm(true[0]))
        own, whole = (np.append(w, b) for w, b in ((last.parameters["direction"], last.parameters["offset"]), (weights, true[1])))
        if own.shape == whole.shape and length > 0:  # decisions show the direction, and no length
            found["parameter_error"] = float(np.abs(own - whole / length).max())
    if true is not None and "weights" in last.parameters:
        error = parameter_error((last.parameters["weights"], last.parameters["intercept"]), true)
        if error is not None:
            found["parameter_error"] = error
    return found


Linear = tuple[NDArray[np.float64], NDArray[np.float64]]


def parameter_error(own: Linear, true: Linear) -> float | None:
    """The largest difference of weights ``(d, c)`` and intercepts ``(c,)``; classes count relative to the first."""
    a, b = (np.concatenate([np.asarray(w, float).reshape(len(w), -1), np.atleast_2d(i)]) for w, i in (own, true))
    if a.shape != b.shape and b.shape[1] > 1:
        b = b[:, 1:] - b[:, :1]
    return float(np.abs(a - b).max()) if a.shape == b.shape else None


def linear_parameters(target: Any) -> Linear | None:
    """The weights and intercepts a target has in input units, where it is a linear estimator, scaled or not; else None."""
    model: Any = getattr(getattr(target, "model", None), "estimator", None)
    steps: list[Any] = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    if not hasattr(steps[-1], "coef_") or len(getattr(target, "stages", [])):
        return None
    coefficients: NDArray[np.float64] = np.atleast_2d(np.asarray(steps[-1].coef_, np.float64)).T
    intercept: NDArray[np.float64] = np.array(steps[-1].intercept_, np.float64).reshape(-1)
    for step in reversed(steps[:-1]):
        if step in (None, "passthrough"):
            continue
        if not (hasattr(step, "scale_") and hasattr(step, "mean_")):
            return None
        scale = np.ones(len(coefficients)) if step.scale_ is None else np.asarray(step.scale_, np.float64)
        centre = np.zeros(len(coefficients)) if step.mean_ is None else np.asarray(step.mean_, np.float64)
        coefficients = coefficients / scale[:, None]
        intercept = intercept - centre @ coefficients
    return coefficients, intercept
