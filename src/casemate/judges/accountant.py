"""What training or answering spends of privacy: epsilon at a delta, from what a mechanism does. Upper bounds, in numpy.

Rényi differential privacy (Mironov 2017, arXiv:1702.07476) adds up over steps at every order; one conversion at the end gives
epsilon. Composition by Rényi orders is sound and somewhat loose: where 48 steps of a sampled Gaussian cost 3.25 by numerical
composition of the whole loss distribution, it says 3.80. Gaussian mechanisms that are not sampled are accounted exactly.

Neighbours differ in one record more or less. How many records there are is taken to be public.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from ..core.errors import BadInput
from .epsilon import epsilon_of_mu

Floats = NDArray[np.float64]

FINE = np.arange(1.1, 12.0, 0.1)  # orders at which small epsilons, and large, are decided
WHOLE = np.concatenate([np.arange(12, 64), np.arange(64, 256, 8), np.arange(256, 1025, 64)]).astype(float)
ORDERS: Floats = np.concatenate([FINE, WHOLE])
LEAST_NOISE, MOST_NOISE = 0.2, 1e4  # multipliers among which one is looked for


@dataclass(frozen=True, slots=True)
class Spent:
    """Epsilon at `delta`, and the Rényi order that decided it (0 where none was needed)."""

    epsilon: float
    delta: float
    order: float = 0.0

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:.3f} at delta {self.delta:g}"


def gaussian_sampled(rate: float, noise: float, steps: int, delta: float) -> Spent:
    """DP-SGD: each record takes part in a step with chance `rate` of its own, and the clipped sum gets Gaussian noise.

    Args:
        rate: Chance of a record to take part in a step, above 0 up to 1. For batches of a shuffled pass this is not the law
            of what was drawn, and nothing here bounds what they spend.
        noise: Standard deviation of the noise, as a multiple of the longest gradient of one example.
        steps: How many.
    """
    _check(rate, noise, steps, delta)
    if rate == 1:
        return gaussian(math.sqrt(steps) / noise, delta)
    return converted(steps * rdp_gaussian(float(rate), float(noise)), delta)


def gaussian(mu: float, delta: float) -> Spent:
    """Gaussian mechanisms without sampling, whose sensitivities over deviations add up to `mu` in squares. Exact."""
    return Spent(epsilon_of_mu(mu, delta), delta)


def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The smallest noise multiplier, to one in ten thousand, with which `steps` of `rate` spend at most `epsilon`."""
    _check(rate, 1.0, steps, delta)
    if not epsilon > 0:
        raise BadInput(f"epsilon={epsilon} is not allowed; give a number above 0")
    low, high = LEAST_NOISE, 1.0
    while gaussian_sampled(rate, high, steps, delta).epsilon > epsilon:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise BadInput(f"epsilon={epsilon:g} at delta={delta:g} takes too much noise in {steps} steps of rate {rate:g}")
    while high - low > 1e-4 * high:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gaussian_sampled(rate, middle, steps, delta).epsilon <= epsilon else (middle, high)
    return high


@lru_cache(maxsize=512)
def rdp_gaussian(rate: float, noise: float) -> Floats:
    """The Rényi divergence of one step of the sampled Gaussian at every order of `ORDERS` (Mironov et al. 2019).

    ``log E[((1 - q) + q exp((2z - 1) / (2 s^2)))^a] / (a - 1)`` over z normal with deviation s: a finite sum for whole orders
    (arXiv:1908.10530, eq. 30), for the others the integral itself, which the trapezoid rule meets to the last digits, as the
    integrand is smooth and dies out on both sides.
    """
    fine = np.array([_integral(rate, noise, order) for order in FINE]) / (FINE - 1)
    return np.concatenate([fine, _sum(rate, noise) / (WHOLE - 1)])


def _integral(q: float, s: float, order: float) -> float:
    z = np.linspace(-12 * s, order + 12 * s, 2000 + int(60 * (order / s)))
    inside = np.logaddexp(math.log1p(-q), math.log(q) + (2 * z - 1) / (2 * s * s))
    value = order * inside - z * z / (2 * s * s) - math.log(s * math.sqrt(2 * math.pi))
    return float(logsumexp(value) + math.log(z[1] - z[0]))


def _sum(q: float, s: float) -> Floats:
    ways, k, rest = _ways()
    return np.asarray(logsumexp(ways + k * math.log(q) + rest * math.log1p(-q) + (k * k - k) / (2 * s * s), axis=1))


@lru_cache(maxsize=1)
def _ways() -> tuple[Floats, Floats, Floats]:
    """``log (a choose k)`` for every whole order a, minus infinity where k exceeds it; k; and a - k."""
    k, a = np.arange(int(WHOLE[-1]) + 1, dtype=float)[None], WHOLE[:, None]
    rest = np.maximum(a - k, 0)
    ways = gammaln(a + 1) - gammaln(k + 1) - gammaln(rest + 1)
    return np.where(k <= a, ways, -np.inf), k, rest


def rdp_pure(epsilon: float) -> Floats:
    """The largest Rényi divergence of a mechanism with that epsilon and no delta: that of randomised response."""
    a = ORDERS
    yes, no = -math.log1p(math.exp(-epsilon)), -math.log1p(math.exp(epsilon))
    return np.asarray(np.logaddexp(a * yes + (1 - a) * no, a * no + (1 - a) * yes) / (a - 1))


def converted(rdp: Floats, delta: float) -> Spent:
    """Epsilon at `delta` from divergences at `ORDERS`, added up over all steps (Canonne, Kamath, Steinke 2020, prop. 12)."""
    if not 0 < delta < 1:
        raise BadInput(f"delta={delta} is not allowed; give a number between 0 and 1")
    epsilon = rdp + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    best = int(np.nanargmin(epsilon))
    return Spent(max(float(epsilon[best]), 0.0), delta, float(ORDERS[best]))


def noisy_votes(kind: str, noise: float, answers: int, delta: float) -> Spent:
    """PATE: `answers` answers, each the class with most votes after noise; one record moves one teacher's vote.

    A vote that moves changes two counts by one. Laplace noise of scale b then costs 2/b in each answer (Papernot et al. 2017,
    arXiv:1610.05755), Gaussian noise of deviation s a distance of sqrt(2)/s (Papernot et al. 2018, arXiv:1802.08908). This
    does not look at the votes, so that the number itself gives nothing away.

    Args:
        kind: ``laplace`` or ``gaussian``.
        noise: Scale or deviation, in votes.
    """
    if answers < 0 or not noise > 0 or not 0 < delta < 1:
        raise BadInput(f"answers={answers}, noise={noise}, delta={delta}: answers from 0, noise above 0, delta between 0 and 1")
    if answers == 0:
        return Spent(0.0, delta)
    if kind == "gaussian":
        return gaussian(math.sqrt(2 * answers) / noise, delta)
    if kind != "laplace":
        raise BadInput(f"kind={kind!r} is not allowed; give 'laplace' or 'gaussian'")
    each, spent = 2 / noise, converted(answers * rdp_pure(2 / noise), delta)
    return spent if spent.epsilon < answers * each else Spent(answers * each, delta)


def votes_noise(kind: str, epsilon: float, answers: int, delta: float) -> float:
    """The least noise, to one in ten thousand, with which that many answers spend at most `epsilon`."""
    if not epsilon > 0:
        raise BadInput(f"epsilon={epsilon} is not allowed; give a number above 0")
    low, high = 1e-6, 1.0
    while noisy_votes(kind, high, answers, delta).epsilon > epsilon:
        low, high = high, 2 * high
    while high - low > 1e-4 * high:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if noisy_votes(kind, middle, answers, delta).epsilon <= epsilon else (middle, high)
    return high


def _check(rate: float, noise: float, steps: int, delta: float) -> None:
    if not 0 < rate <= 1 or not noise > 0 or steps < 1 or not 0 < delta < 1:
        given = f"rate={rate}, noise={noise}, steps={steps}, delta={delta}"
        raise BadInput(f"{given}: a rate above 0 up to 1, noise above 0, a step at least, and a delta between 0 and 1")
