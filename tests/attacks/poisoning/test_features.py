"""Clean-label poison on linear features and with room to move: where it ought to end is known in closed form."""

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks.poisoning._nets import Net, Plan
from casemate.attacks.poisoning.bullseye import Bullseye
from casemate.attacks.poisoning.feature_collision import FeatureCollision
from casemate.attacks.poisoning.gradient_matching import GradientMatching, _slope

WIDE = 20.0  # the range is far wider than the data, so that no bound is met


@pytest.fixture(params=range(3))
def linear(request):
    """Features W p of six inputs, the matrix W, five records and the input to be misread."""
    rng = np.random.default_rng(request.param)
    weights, base, goal = rng.normal(size=(4, 6)), rng.normal(size=(5, 6)), rng.normal(size=(1, 6))
    body = torch.nn.Linear(6, 4, bias=False, dtype=torch.float64).requires_grad_(False)
    body.weight.copy_(torch.as_tensor(weights))
    head = torch.nn.Linear(4, 3, dtype=torch.float64).requires_grad_(False)
    generator = torch.Generator().manual_seed(request.param)
    head.weight.copy_(torch.randn(3, 4, generator=generator, dtype=torch.float64))
    head.bias.zero_()
    plan = Plan(
        base, np.zeros(5, int), np.arange(3), goal, np.array([0]), np.full(6, -WIDE), np.full(6, WIDE), within=None, most=5
    )
    return plan, Net(body, head), weights


@pytest.mark.parametrize("beta", [0.1, 10.0, 1000.0])
def test_a_collision_ends_where_the_normal_equations_say(linear, beta):
    plan, net, weights = linear
    found = FeatureCollision(beta=beta, steps=400)._made(plan, net, 0, plan.x)
    wanted = weights @ plan.goals[0]
    for base, ours in zip(plan.x, found, strict=True):
        far = ((weights @ base - wanted) ** 2).sum()
        keep = beta / 6 / (2 * WIDE) ** 2  # one coordinate's part of the mean square, in shares of the range
        best = np.linalg.solve(weights.T @ weights / far + keep * np.eye(6), weights.T @ wanted / far + keep * base)
        assert np.abs(best).max() < WIDE
        assert ours == pytest.approx(best, abs=5e-3)


def test_a_collision_of_few_steps_leaves_little_to_gain(linear):
    plan, net, weights = linear
    found = FeatureCollision(beta=10.0)._made(plan, net, 0, plan.x)
    wanted = weights @ plan.goals[0]
    for base, ours in zip(plan.x, found, strict=True):
        far = ((weights @ base - wanted) ** 2).sum()
        keep = 10.0 / 6 / (2 * WIDE) ** 2
        best = np.linalg.solve(weights.T @ weights / far + keep * np.eye(6), weights.T @ wanted / far + keep * base)

        def cost(p, base=base, far=far, keep=keep):
            return ((weights @ p - wanted) ** 2).sum() / far + keep * ((p - base) ** 2).sum()

        assert cost(ours) - cost(best) < 1e-3 * (cost(base) - cost(best))


def test_a_collision_without_care_for_looks_has_the_features_of_the_input(linear):
    plan, net, weights = linear
    found = FeatureCollision(beta=0.0, steps=400)._made(plan, net, 0, plan.x)
    assert found @ weights.T == pytest.approx(np.tile(weights @ plan.goals[0], (5, 1)), abs=1e-4)


def test_the_bullseye_is_the_mean_of_the_features(linear):
    plan, net, weights = linear
    found = Bullseye(steps=400, rate=0.003)._made(plan, net, 0, plan.x)
    assert (found @ weights.T).mean(0) == pytest.approx(weights @ plan.goals[0], abs=1e-6)
    assert (plan.x @ weights.T).mean(0) != pytest.approx(weights @ plan.goals[0], abs=0.1)


def test_matched_slopes_point_the_same_way(linear):
    plan, net, _ = linear
    found = GradientMatching(steps=400, rate=0.003)._made(plan, net, 0, plan.x, np.arange(5), cm.RowRandom(0))

    def cosine(x):
        return float(torch.cosine_similarity(_slope(net, torch.as_tensor(x), 0), _slope(net, torch.as_tensor(plan.goals), 0), dim=0))

    # Nothing lies beyond 1, and copies of the input reach it.
    assert cosine(np.tile(plan.goals, (5, 1))) == pytest.approx(1.0, abs=1e-12)
    assert cosine(plan.x) < 0.95 and cosine(found) > 0.9999
