"""Robust error in closed form: ``y = +-1``, ``x ~ N(y theta, sigma^2 I)``, linear classifiers, attacks of radius eps.

`norm` is that of the attack: ``linf``, ``l2`` or ``l1``.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from ...core.errors import BadInput

Norm = Literal["linf", "l2", "l1"]
Floats = NDArray[np.float64]
_DUAL = {"linf": 1.0, "l2": 2.0, "l1": np.inf}
_METRIC: dict[str, Literal["chebyshev", "euclidean", "cityblock"]] = {"linf": "chebyshev", "l2": "euclidean", "l1": "cityblock"}


def linear_error(w: Any, theta: Any, sigma: float, radius: float = 0.0, norm: Norm = "linf") -> float:
    """Error of ``sign(w . x)`` under the worst change of size `radius`: Phi((radius |w|_dual - w . theta) / (sigma |w|_2))."""
    w, theta = np.asarray(w, float), np.asarray(theta, float)
    size = float(np.linalg.norm(w))
    if size == 0:
        raise BadInput("w is zero, and decides nothing; give a direction")
    reach = radius * float(np.linalg.norm(w, _DUAL[norm]))
    return float(ndtr((reach - w @ theta) / (sigma * size)))


def worst_change(w: Any, y: Any, radius: float, norm: Norm = "linf") -> Floats:
    """The change ``(n, d)`` of size `radius` that hurts ``sign(w . x)`` most on rows of labels `y` ``(n,)`` in -1, 1."""
    w = np.asarray(w, float)
    if norm == "linf":
        way = np.sign(w)
    elif norm == "l2":
        way = w / np.linalg.norm(w)
    else:
        most = int(np.argmax(np.abs(w)))
        way = np.zeros_like(w)
        way[most] = np.sign(w[most])
    return np.asarray(-radius * np.asarray(y, float)[:, None] * way)


def robust_weights(theta: Any, radius: float, norm: Norm = "linf") -> Floats:
    """The linear classifier of least robust error, which no classifier beats (Dan, Wei, Ravikumar 2020).

    It is ``theta - z`` for the point z of the ball nearest to theta: theta shrunk towards zero by `radius` in each coordinate
    for linf, its own direction for l2, its largest coordinates cut for l1. Zero where the ball holds theta: then nothing can
    be learned.
    """
    theta = np.asarray(theta, float)
    if norm == "linf":
        return np.asarray(np.sign(theta) * np.maximum(np.abs(theta) - radius, 0))
    if norm == "l2":
        length = float(np.linalg.norm(theta))
        return np.asarray(theta * (max(1 - radius / length, 0.0) if length else 1.0))
    if np.abs(theta).sum() <= radius:
        return np.zeros_like(theta)
    # Projection on the l1 ball: theta shrunk by a level t; what is left over is theta cut at t.
    sizes = np.sort(np.abs(theta))[::-1]
    levels = (np.cumsum(sizes) - radius) / np.arange(1, len(sizes) + 1)
    level = float(levels[np.flatnonzero(sizes > levels)[-1]])
    return np.asarray(np.sign(theta) * np.minimum(np.abs(theta), level))


def robust_error(theta: Any, sigma: float, radius: float = 0.0, norm: Norm = "linf") -> float:
    """The least robust error of any classifier: Phi(-|theta - z| / sigma); one half where the ball holds theta."""
    return float(ndtr(-np.linalg.norm(robust_weights(theta, radius, norm)) / sigma))


def learned_error(d: int, n: float, radius: float, sigma: float | None = None) -> tuple[float, float]:
    """Clean and robust (linf) error of the mean of n rows, in the setting of Schmidt et al. 2018; large-d approximation.

    theta has entries 1, sigma defaults to d^(1/4). The mean is off by ``t = sigma / sqrt(n)`` in each coordinate.
    """
    sigma = d**0.25 if sigma is None else sigma
    t = sigma / math.sqrt(n)
    spread = sigma * math.sqrt(1 + t * t)
    mean_size = t * math.sqrt(2 / math.pi) * math.exp(-1 / (2 * t * t)) + 1 - 2 * float(ndtr(-1 / t))  # E|1 + t N|
    root = math.sqrt(d)
    return float(ndtr(-root / spread)), float(ndtr((radius * root * mean_size - root) / spread))


def robust_cap(delta: float, p: float) -> float:
    """Most robust accuracy (linf, radius 2 eta) of a classifier with clean error `delta`, where one feature is right with
    probability p and the others are weak, ``N(eta y, 1)`` (Tsipras et al. 2019): p delta / (1 - p)."""
    if not 0.5 <= p < 1:
        raise BadInput(f"p={p:g} is not allowed; the robust feature is right with a probability from 0.5 to below 1")
    return min(1.0, p / (1 - p) * delta)


def weak_mean_error(d: int, eta: float, radius: float = 0.0) -> float:
    """Error of the mean of d weak features ``N(eta y, 1)`` under a linf change: Phi(sqrt(d) (radius - eta))."""
    return float(ndtr(math.sqrt(d) * (radius - eta)))


def smoothed_radius(w: Any, b: float, x: Any) -> Floats:
    """The certified l2 radius ``(n,)`` of a linear classifier, smoothed with Gaussian noise of any width: |w . x + b| / |w|.

    The smoothed vote for the class is Phi(margin / (sigma |w|)), and sigma times its quantile gives the margin back.
    """
    w = np.asarray(w, float)
    return np.asarray(np.abs(np.asarray(x, float) @ w + b) / np.linalg.norm(w))


def unavoidable_errors(x: Any, y: Any, radius: float, norm: Norm = "linf") -> int:
    """The fewest rows of a finite two-class set that any classifier whatever gets wrong under changes of size `radius`.

    Two rows of different labels at most ``2 radius`` apart can be moved to one point, where one of them is wrong. The fewest
    rows that touch all such pairs are as many as the largest matching of them (Koenig; Bhagoji et al. 2019). All pairs are
    looked at: memory grows with the product of the two classes.

    Args:
        x: ``(n, d)``; longer shapes are flattened.
        y: ``(n,)`` of two labels.
    """
    flat, label = np.asarray(x, float).reshape(len(x), -1), np.asarray(y)
    names = np.unique(label)
    if len(names) != 2:
        raise BadInput(f"the floor is worked out for two classes; got {len(names)}; keep two, or merge the others")
    apart = cdist(flat[label == names[0]], flat[label == names[1]], _METRIC[norm])
    # Distances are rounded: pairs at exactly twice the radius must count.
    graph = csr_array(apart <= 2 * radius * (1 + 1e-12))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
