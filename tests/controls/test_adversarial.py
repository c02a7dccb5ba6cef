"""Adversarial training: the hook, and that a seed is a seed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from casemate.controls.training.adversarial import Adversarial, Perturb
from casemate.core.constraint import Ball
from casemate.core.errors import UsageError
from casemate.core.target import Recipe

torch = pytest.importorskip("torch")


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU())
        self.head = torch.nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.layers(x))


def fit(x, y, seed, *, perturb=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Small()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(30):
        at = x if perturb is None else perturb(net, x, y)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(at), y).backward()
        optimiser.step()
    return net.eval()


def plain(x, y, seed):
    return fit(x, y, seed)


@pytest.fixture
def recipe():
    generator = np.random.default_rng(0)
    y = np.arange(200) % 2
    # One feature is wide apart and noisy, the other perfectly predictive and tiny: plain training takes the bait.
    x = np.stack([0.5 + 0.2 * (2 * y - 1) + generator.normal(0, 0.12, 200), 0.5 + 0.02 * (2 * y - 1)], 1).clip(0, 1)
    return Recipe(fit, torch.tensor(x, dtype=torch.float32), torch.tensor(y))


def robust(net, x, y, radius):
    at = Perturb(Adversarial(radius=radius, steps=20), 7)(net, x, y)
    return float((net(at).argmax(1) == y).float().mean())


def test_it_resists_what_plain_training_does_not(recipe):
    control = Adversarial(radius=0.06, steps=5)
    hard = control.harden_recipe(recipe)
    hardened, undefended = hard.fit(recipe.x, recipe.y, 0), recipe.fit(recipe.x, recipe.y, 0)
    assert robust(hardened, recipe.x, recipe.y, 0.06) > robust(undefended, recipe.x, recipe.y, 0.06) + 0.1


def test_the_seed_alone_decides(recipe):
    hard = Adversarial(steps=2).harden_recipe(recipe)
    one, two, other = (hard.fit(recipe.x, recipe.y, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attack_stays_in_the_ball_and_leaves_the_net_alone(recipe, norm):
    net = Small().train()
    net.layers[1].eval()  # a frozen batch norm must come back frozen
    before = {k: v.clone() for k, v in net.state_dict().items()}
    at = Perturb(Adversarial(radius=0.2, norm=norm), 0)(net, recipe.x, recipe.y)
    assert Ball(norm, 0.2).check(at, recipe.x).all()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training
    assert not net.layers[1].training
    assert all(p.grad is None for p in net.parameters())
    assert not at.requires_grad


def test_flags_come_back_after_an_error(recipe):
    net = Small().train()
    with pytest.raises(RuntimeError):
        Perturb(Adversarial(), 0)(net, recipe.x[:, :1], recipe.y)
    assert all(part.training for part in net.modules())


def test_a_recipe_without_the_hook_says_so(recipe):
    with pytest.raises(UsageError, match="cannot harden: the recipe takes no perturb hook"):
        Adversarial().harden_recipe(Recipe(plain, recipe.x, recipe.y))


def test_it_travels_to_a_worker_and_has_an_identity_of_its_own(recipe):
    hard = Adversarial(steps=1).harden_recipe(recipe)
    assert pickle.loads(pickle.dumps(hard.fit)).control == Adversarial(steps=1)
    assert hard.version != recipe.version
    assert hard.version != Adversarial(steps=2).harden_recipe(recipe).version


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"norm": "l1"}, {"stride": 0.0}, {"radius": -1.0}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Adversarial(**wrong)
