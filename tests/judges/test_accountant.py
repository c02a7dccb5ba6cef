"""The accountant: published figures, closed forms, and Opacus's own where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.judges.accountant import (
    ORDERS,
    Spent,
    converted,
    gaussian,
    gaussian_sampled,
    noise_for,
    noisy_votes,
    rdp_gaussian,
    rdp_pure,
    votes_noise,
)  # fmt: skip
from casemate.judges.epsilon import delta_of_mu

CHECKED = (256 / 4096, 1.0, 48)  # by numerical composition of the loss distribution: 3.251 (PRV), 3.240 (PLD)


def test_the_golden_value() -> None:
    spent = gaussian_sampled(*CHECKED, delta=1e-5)
    assert spent.epsilon == pytest.approx(3.799, abs=2e-3)
    assert spent.epsilon > 3.251  # an upper bound: never below what is really spent
    assert str(spent) == "epsilon 3.798 at delta 1e-05"


def test_without_sampling_every_order_is_the_gaussian_s() -> None:
    assert np.allclose(rdp_gaussian(1 - 1e-12, 2.0), ORDERS / (2 * 2.0**2), rtol=1e-6)


def test_whole_orders_by_the_integral_are_those_of_the_sum() -> None:
    from casemate.judges.accountant import FINE, _integral

    for q, s in ((0.01, 0.7), (0.3, 1.5), (0.06, 4.0)):
        sums = rdp_gaussian(q, s)[len(FINE) :]
        for order in (12, 20, 40):
            assert _integral(q, s, float(order)) / (order - 1) == pytest.approx(sums[order - 12], rel=1e-9)


def test_every_record_in_every_step_is_exact() -> None:
    spent = gaussian_sampled(1.0, 5.0, 80, 1e-5)
    assert delta_of_mu(math.sqrt(80) / 5.0, spent.epsilon) == pytest.approx(1e-5, rel=1e-6)
    assert spent.epsilon < converted(80 * ORDERS / (2 * 5.0**2), 1e-5).epsilon
    assert spent == gaussian(math.sqrt(80) / 5.0, 1e-5)


@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(8.0, 0.064, 480), (1.0, 0.25, 100), (3.0, 1.0, 80)])
def test_the_noise_found_keeps_to_epsilon_and_is_the_least(epsilon: float, rate: float, steps: int) -> None:
    noise = noise_for(epsilon, 1e-5, rate, steps)
    assert gaussian_sampled(rate, noise, steps, 1e-5).epsilon <= epsilon
    assert gaussian_sampled(rate, 0.999 * noise, steps, 1e-5).epsilon > epsilon


def test_more_steps_more_rows_and_less_noise_spend_more() -> None:
    at = gaussian_sampled(0.05, 1.0, 100, 1e-5).epsilon
    assert gaussian_sampled(0.05, 1.0, 200, 1e-5).epsilon > at
    assert gaussian_sampled(0.1, 1.0, 100, 1e-5).epsilon > at
    assert gaussian_sampled(0.05, 0.9, 100, 1e-5).epsilon > at


def test_pure_divergence_is_that_of_randomised_response() -> None:
    for epsilon in (0.1, 1.0, 5.0):
        p, small = math.exp(epsilon) / (1 + math.exp(epsilon)), ORDERS < 60  # beyond, the plain powers run out of digits
        a = ORDERS[small]
        exact = np.log(p**a * (1 - p) ** (1 - a) + (1 - p) ** a * p ** (1 - a)) / (a - 1)
        assert np.allclose(rdp_pure(epsilon)[small], exact)
        assert (rdp_pure(epsilon) <= epsilon).all()


def test_votes() -> None:
    # One answer with Laplace noise of scale 20 is (0.1, 0)-private; composition never charges more than the plain sum.
    assert noisy_votes("laplace", 20.0, 1, 1e-5) == Spent(0.1, 1e-5)
    assert noisy_votes("laplace", 40.0, 1000, 1e-5).epsilon < 1000 * 2 / 40
    assert noisy_votes("gaussian", 40.0, 200, 1e-5).epsilon == gaussian(math.sqrt(400) / 40, 1e-5).epsilon
    assert noisy_votes("gaussian", 40.0, 0, 1e-5).epsilon == 0
    for kind in ("laplace", "gaussian"):
        noise = votes_noise(kind, 3.0, 100, 1e-5)
        assert noisy_votes(kind, noise, 100, 1e-5).epsilon <= 3.0 < noisy_votes(kind, 0.999 * noise, 100, 1e-5).epsilon


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 5, 1e-5), (1.1, 1.0, 5, 1e-5), (0.5, 0.0, 5, 1e-5), (0.5, 1.0, 0, 1e-5), (0.5, 1.0, 5, 0.0)])
def test_what_makes_no_sense_is_refused(wrong: tuple[float, float, int, float]) -> None:
    with pytest.raises(BadInput, match="rate="):
        gaussian_sampled(*wrong)


def test_an_epsilon_of_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="epsilon=0"):
        noise_for(0, 1e-5, 0.1, 10)


@pytest.mark.parametrize(("q", "s", "steps"), [(0.0625, 1.0, 48), (0.01, 0.6, 1000), (0.5, 3.0, 50), (0.2, 0.4, 20)])
def test_it_agrees_with_opacus(q: float, s: float, steps: int) -> None:
    rdp = pytest.importorskip("opacus.accountants.analysis.rdp")
    places = [0, 10, 40, 90, len(ORDERS) - 40]
    theirs = rdp.compute_rdp(q=q, noise_multiplier=s, steps=1, orders=ORDERS[places].tolist())
    assert np.allclose(rdp_gaussian(q, s)[places], theirs, rtol=1e-6)
    own = [o for o in ORDERS.tolist() if o < 64]
    total = rdp.compute_rdp(q=q, noise_multiplier=s, steps=steps, orders=own)
    spent, _ = rdp.get_privacy_spent(orders=own, rdp=total, delta=1e-5)
    assert gaussian_sampled(q, s, steps, 1e-5).epsilon == pytest.approx(spent, rel=1e-6)
