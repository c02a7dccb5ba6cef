"""Membership and differential privacy in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, ndtr, ndtri

from ...core.errors import BadInput
from ..epsilon import delta_of_mu, epsilon_of_mu

Floats = NDArray[np.float64]

__all__ = ["delta_of_mu", "epsilon_of_mu"]


def gap_advantage(train_accuracy: float, test_accuracy: float) -> float:
    """Advantage of calling a member whatever is decided rightly: the gap itself (Yeom et al. 2018)."""
    return train_accuracy - test_accuracy


def loss_advantage(train_loss: float, test_loss: float, most: float) -> float:
    """Advantage of calling a member with probability ``1 - loss / most``, for losses in [0, most]: the gap over `most`."""
    if not (most > 0 and 0 <= train_loss <= most and 0 <= test_loss <= most):
        raise BadInput(f"losses {train_loss:g} and {test_loss:g} do not lie in [0, {most:g}]")
    return (test_loss - train_loss) / most


def residual_advantage(ratio: float) -> float:
    """Best advantage where residuals are N(0, 1) for members and N(0, ratio^2) for others, ratio >= 1."""
    if ratio < 1:
        raise BadInput(f"ratio={ratio:g} is not allowed; give the others' spread over the members', 1 or more")
    if ratio == 1:
        return 0.0
    root = math.sqrt(math.log(ratio) / (ratio**2 - 1))
    return float(erf(ratio * root) - erf(root))


def dp_advantage(epsilon: float, delta: float = 0.0) -> float:
    """The most advantage (epsilon, delta)-privacy allows, and some mechanism reaches: (e^eps - 1 + 2 delta) / (e^eps + 1)."""
    # Divided by e^eps, so that a large epsilon does not overflow.
    small = math.exp(-epsilon)
    return (1 - small + 2 * delta * small) / (1 + small)


def dp_balanced_accuracy(epsilon: float, delta: float = 0.0) -> float:
    """The most balanced accuracy of an attack, and, at a prior of one half with delta = 0, the most its "member" is right."""
    return (1 + dp_advantage(epsilon, delta)) / 2


def dp_tradeoff(fpr: Any, epsilon: float, delta: float = 0.0) -> Floats:
    """The least false-negative rate at each false-positive rate: max(0, 1 - delta - e^eps a, e^-eps (1 - delta - a))."""
    a = np.asarray(fpr, float)
    grow = np.exp(min(epsilon, 700.0))  # above that it would be infinite, and infinity times no false positive no number
    return np.asarray(np.maximum(0, np.maximum(1 - delta - grow * a, np.exp(-epsilon) * (1 - delta - a))))


def dp_tpr(fpr: Any, epsilon: float, delta: float = 0.0) -> Floats:
    """The most true-positive rate at each false-positive rate."""
    return np.asarray(1 - dp_tradeoff(fpr, epsilon, delta))


def gdp_tpr(fpr: Any, mu: float) -> Floats:
    """True-positive rate of the best attack on a mu-Gaussian mechanism: Phi(Phi^-1(a) + mu)."""
    return np.asarray(ndtr(ndtri(np.asarray(fpr, float)) + mu))


def gdp_auc(mu: float) -> float:
    """Its area under the curve: Phi(mu / sqrt 2)."""
    return float(ndtr(mu / math.sqrt(2)))


def gdp_advantage(mu: float) -> float:
    """Its advantage: 2 Phi(mu / 2) - 1."""
    return float(2 * ndtr(mu / 2) - 1)


def composed_mu(*mus: float) -> float:
    """The mu of several Gaussian mechanisms on the same data: the root of the sum of squares."""
    return math.sqrt(sum(mu * mu for mu in mus))


def mean_mu(z: Any, theta: Any, sigma: float, n: int, noise: float = 0.0) -> float:
    """How far apart the two worlds are when the mean of n rows from N(theta, sigma^2 I) is published, z in or out.

    |z - theta| / (n sqrt(sigma^2 / n + noise^2)), with Gaussian noise of spread `noise` on each coordinate (Azize, Basu
    2024). The spread of the remaining rows with z in is that of n - 1, not n: the formula leaves that out, an error of the
    order 1 / n. The area of the best attack is ``gdp_auc(mean_mu(...))``.
    """
    apart = float(np.linalg.norm(np.asarray(z, float) - np.asarray(theta, float)))
    return apart / (n * math.sqrt(sigma**2 / n + noise**2))


def mean_scores(z: Any, theta: Any, means: Any) -> Floats:
    """The score of the best attack on each published mean ``(k, d)``: the product of z - theta and mean - theta."""
    theta = np.asarray(theta, float)
    return np.asarray((np.asarray(means, float) - theta) @ (np.asarray(z, float) - theta))


def response_rate(epsilon: float, values: int = 2) -> float:
    """How often randomised response on k values tells the truth: e^eps / (e^eps + k - 1)."""
    if values < 2:
        raise BadInput(f"values={values} is not allowed; a response has at least 2")
    return 1 / (1 + (values - 1) * math.exp(-epsilon))


def laplace_log_ratio(output: Any, one: float, other: float, scale: float) -> Floats:
    """Log-likelihood ratio of an output under Laplace noise on `one` against `other`: at most |one - other| / scale in size,
    which is epsilon, and exactly that for every output outside the two."""
    x = np.asarray(output, float)
    return np.asarray((np.abs(x - other) - np.abs(x - one)) / scale)


def laplace_tpr(fpr: Any, epsilon: float) -> Floats:
    """True-positive rate of the best attack on the Laplace mechanism."""
    a = np.asarray(fpr, float)
    with np.errstate(divide="ignore"):
        steep, flat = np.exp(epsilon) * a, np.exp(-epsilon) / (4 * a)
    edge = np.exp(-epsilon) / 2
    return np.asarray(np.where(a < edge, steep, np.where(a <= 0.5, 1 - flat, 1 - np.exp(-epsilon) * (1 - a))))


def exposure(rank: Any, references: int) -> Floats:
    """Exposure in bits of a canary that ranks so (from 1) among `references` candidates, itself included."""
    places = np.asarray(rank, float)
    if (places < 1).any() or (places > references).any():
        raise BadInput(f"a rank lies from 1 to {references}, the canary itself included")
    return np.asarray(math.log2(references) - np.log2(places))


def untrained_exposure(references: int) -> float:
    """Expected exposure where the rank is pure chance: log2 N - mean of log2 rank, which tends to log2 e = 1.4427."""
    return float(exposure(np.arange(1, references + 1), references).mean())
