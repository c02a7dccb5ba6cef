"""ALMA, EAD, JSMA, sigma-zero, PDPGD: exact on linear models, honest where they fail, and unmoved by shifts of logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.evasion._polish import nearest_cut
from casemate.attacks.evasion._proximal import shrink
from casemate.attacks.evasion.alma import ALMA
from casemate.attacks.evasion.ead import EAD
from casemate.attacks.evasion.jsma import JSMA
from casemate.attacks.evasion.pdpgd import PDPGD
from casemate.attacks.evasion.sigma_zero import SigmaZero
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows
from casemate.testing.toys import linear, linear_distance

torch.set_num_threads(1)

FAST = {
    "alma l2": (ALMA(steps=120), "l2"), "alma l1": (ALMA(steps=120), "l1"), "ead l1": (EAD(steps=40, searches=4), "l1"),
    "pdpgd linf": (PDPGD(steps=120), "linf"), "pdpgd l2": (PDPGD(steps=120), "l2"), "pdpgd l1": (PDPGD(steps=120), "l1"),
}  # fmt: skip
COUNT = {"jsma": JSMA(), "sigma_zero": SigmaZero(steps=120), "pdpgd": PDPGD(steps=150, polish=0.5)}
EVERY = {**FAST, **{f"{name} l0": (attack, "l0") for name, attack in COUNT.items()}}
every = pytest.mark.parametrize("name", EVERY)


def drive(attack, model, case, budget=None):
    """The trace of an attack alone, and its meter."""
    meter = Meter(case.row)
    return drive_rows(attack, Oracle(Endpoint(cm.wrap(model)), cm.researcher(budget), meter), case, cm.RowRandom(0)), meter


def found(attack, model, x, y, norm, goal=None):
    """The size of each row's claim, infinite where there is none."""
    case = cm.Evade(x, y, cm.Ball(norm, np.inf), goal=goal or cm.Wrong(), seek="nearest")
    trace, _ = drive(attack, model, case)
    return np.where(trace.believed, case.within.measure(trace.x, x), np.inf)


class Net(nn.Module):
    """A small network in float64, with any shift of its logits."""

    def __init__(self, shift=0.0, steep=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = torch.randn(36, 24, generator=generator, dtype=torch.float64) / 2
        self.second = torch.randn(24, 4, generator=generator, dtype=torch.float64)
        self.shift, self.steep = shift, steep

    def forward(self, x):
        return self.steep * torch.tanh((x.double() - 0.5).flatten(1) @ self.first) @ self.second + self.shift


def images(n=10):
    """Images with values at both ends of the domain, and how the network reads them."""
    x = np.random.default_rng(0).uniform(0, 1, (n, 1, 6, 6))
    x[:, :, ::2] = np.round(x[:, :, ::2])
    return x, Net()(torch.as_tensor(x)).argmax(1).numpy()


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_on_linear_models_with_a_box(name, classes, dtype):
    attack, norm = FAST[name]
    toy = linear(classes, (12,), seed=5)
    x, _ = toy.inputs(12, dtype=dtype)
    x = np.where(np.arange(12) % 3 == 0, np.round(x), x).astype(dtype)
    y = toy(x).argmax(1)
    ratio = found(attack, toy.module(dtype), x, y, norm) / toy.distance(x, y, norm)
    assert ratio.min() >= 0.999
    assert np.median(ratio) <= 1.02, ratio


@pytest.mark.parametrize("name", FAST)
def test_the_published_part_alone_comes_close(name):
    attack, norm = FAST[name]
    toy = linear(2, (12,), seed=5)
    x, y = toy.inputs(12, dtype="float64")
    ratio = found(type(attack)(steps=200, polish=0.0), toy.module("float64"), x, y, norm) / toy.distance(x, y, norm)
    assert ratio.min() >= 0.999
    assert np.median(ratio) <= {"l1": 1.6}.get(norm, 1.1), ratio


def fewest(toy, x, y):
    """The smallest number of values that decides otherwise between two classes: largest gains first."""
    weight = toy.weight[1 - y] - toy.weight[y]
    gains = np.sort(np.maximum(weight * (1 - x), -weight * x), axis=1)[:, ::-1].cumsum(1)
    lead = (toy(x)[np.arange(len(x)), y] - toy(x)[np.arange(len(x)), 1 - y])[:, None]
    return 1 + (gains <= lead).sum(1)


def deep(n=16):
    """A linear model and inputs far inside their class: several values have to change."""
    toy = linear(2, (64,), seed=5)
    x, y = toy.inputs(n, dtype="float64")
    x = np.clip(x + 0.15 * np.sign(toy.weight[y] - toy.weight.mean(0)), 0, 1)
    return toy, x, toy(x).argmax(1)


@pytest.mark.parametrize("name", COUNT)
def test_fewest_values_on_linear_models(name):
    toy, x, y = deep()
    least = fewest(toy, x, y)
    assert np.median(least) >= 4
    more = found(COUNT[name], toy.module("float64"), x, y, "l0") - least
    assert (more >= 0).all()
    assert (more <= 1).all(), more


def test_taking_values_back_helps():
    toy, x, y = deep()
    plain, pruned = (found(JSMA(pair=6, prune=p, steps=60), toy.module("float64"), x, y, "l0") for p in (0.0, 0.5))
    assert (pruned <= plain).all()
    x, y = images(16)
    plain, pruned = (found(JSMA(prune=p), Net(steep=3.0), x, y, "l0") for p in (0.0, 0.3))
    assert (pruned <= plain).all()
    assert pruned.sum() < plain.sum()


@every
def test_a_failed_row_returns_its_input_and_no_distance(name):
    attack, norm = EVERY[name]
    x, y = images()
    case = cm.Evade(x, y, cm.Ball(norm, 1e-9), seek="nearest")
    evidence = cm.run(attack, cm.wrap(Net()), case)
    failed = ~evidence.rows["broken"]
    assert failed.sum() >= 8
    np.testing.assert_array_equal(np.asarray(evidence.claims.x)[failed], x[failed])
    assert np.isinf(evidence.rows["distance"][failed]).all()


@every
def test_a_model_without_slopes_is_no_success_and_no_nan(name):
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten(1).sum(1, keepdim=True) * torch.tensor([[0.0, 0.0, 0.0]]).double() + torch.tensor([1.0, 0.0, 0.0])

    attack, norm = EVERY[name]
    x, _ = images(3)
    trace, _ = drive(attack, Flat(), cm.Evade(x, np.zeros(3, int), cm.Ball(norm, np.inf), seek="nearest"))
    assert not trace.believed.any()
    np.testing.assert_array_equal(trace.x, x)


@every
def test_every_row_falls_where_nothing_defends(name):
    attack, norm = EVERY[name]
    x, y = images()
    assert np.isfinite(found(attack, Net(), x, y, norm)).all()


@every
@pytest.mark.parametrize("shift", [-50.0, 50.0])
def test_adding_to_all_logits_changes_nothing(name, shift):
    attack, norm = EVERY[name]
    x, y = images(6)
    case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
    cap = cm.Budget(gradients_per_row=30)  # beyond that the last bits of a logit, multiplied over and over, show
    plain, moved = (drive(attack, Net(shift=s), case, cap)[0] for s in (0.0, shift))
    np.testing.assert_array_equal(plain.believed, moved.believed)
    np.testing.assert_allclose(moved.x, plain.x, atol=1e-6)


@every
def test_values_at_the_ends_of_the_domain_move(name):
    attack, norm = EVERY[name]
    x, y = images()
    case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
    trace, _ = drive(attack, Net(), case)
    assert (((x == 0) | (x == 1)) & (np.asarray(trace.x) != x)).any()
    assert case.within.check(trace.x, x).all()


@every
def test_one_class_can_be_asked_for(name):
    attack, norm = EVERY[name]
    x, y = images(16)
    keep = y != 2
    case = cm.Evade(x[keep], y[keep], cm.Ball(norm, np.inf), goal=cm.Becomes(2), seek="nearest")
    trace, _ = drive(attack, Net(), case)
    assert trace.believed.mean() > 0.9
    read = Net()(torch.as_tensor(np.asarray(trace.x))).argmax(1).numpy()
    assert (read[trace.believed] == 2).all()


@every
def test_static_cost_is_an_upper_bound(name):
    attack, norm = EVERY[name]
    x, y = images(4)
    _, meter = drive(attack, Net(), cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest"))
    assert meter.total["gradients"] * 3 <= attack.info.static_cost(attack) * 4


def test_ead_keeps_the_best_by_the_rule_it_is_given():
    x, y = images()
    beta = 0.02
    claims = {}
    for rule in ("l1", "en"):
        case = cm.Evade(x, y, cm.Ball("l1", np.inf), seek="nearest")
        claims[rule] = np.asarray(drive(EAD(steps=60, searches=5, beta=beta, rule=rule, polish=0.0), Net(), case)[0].x) - x
    l1 = {rule: np.abs(c).reshape(len(x), -1).sum(1) for rule, c in claims.items()}
    net = {rule: beta * l1[rule] + (c**2).reshape(len(x), -1).sum(1) for rule, c in claims.items()}
    assert (l1["l1"] <= l1["en"] + 1e-9).all()
    assert (net["en"] <= net["l1"] + 1e-9).all()
    assert l1["l1"].sum() < l1["en"].sum()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_nearest_point_of_a_cut_is_exact(norm):
    rng = np.random.default_rng(0)
    x, slope = torch.as_tensor(rng.uniform(0, 1, (20, 7))), torch.as_tensor(rng.normal(size=(20, 7)))
    need = torch.as_tensor(rng.uniform(0.1, 1.5, 20))
    point, ok = nearest_cut(x, slope, need, cm.Ball(norm, np.inf))
    assert int(ok.sum()) > 5
    for i in np.flatnonzero(ok.numpy()):
        weight = np.stack([np.zeros(7), slope[i].numpy()])
        bias = np.array([0.0, -float(need[i] + slope[i] @ x[i])])
        exact = linear_distance(weight, bias, x[i : i + 1].numpy(), [0], norm, low=0.0, high=1.0)[0]
        size = cm.Ball(norm, np.inf).measure(point[i : i + 1].numpy(), x[i : i + 1].numpy())[0]
        assert size == pytest.approx(exact, rel=1e-5)
        assert float(slope[i] @ (point[i] - x[i])) == pytest.approx(float(need[i]), rel=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_a_proximal_step_is_the_smallest_of_its_neighbours(norm):
    generator = torch.Generator().manual_seed(1)
    r = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    metric = torch.rand(5, 4, generator=generator, dtype=torch.float64) * 3 + 0.3
    size = {"linf": lambda z: z.abs().amax(1), "l2": lambda z: z.norm(dim=1), "l1": lambda z: z.abs().sum(1),
            "l0": lambda z: z.abs().pow(2 / 3).sum(1)}[norm]  # fmt: skip
    z = shrink(r, metric, norm)
    here = (metric * (z - r).square() / 2).sum(1) + size(z)
    for far in (1.0, 0.1, 0.01):
        for _ in range(300):
            other = z + far * torch.randn(5, 4, generator=generator, dtype=torch.float64)
            assert (((metric * (other - r).square() / 2).sum(1) + size(other)) >= here - 1e-4 * far**2).all()


def trained():
    """A small network trained on the scikit-learn digits, with images it reads correctly."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, y = torch.as_tensor(x / 16, dtype=torch.float32), torch.as_tensor(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[:1200]), y[:1200]).backward()
        optimiser.step()
    net = net.eval().requires_grad_(False)
    keep = net(x[1200:]).argmax(1) == y[1200:]
    return net, x[1200:][keep][:30].numpy(), y[1200:][keep][:30].numpy()


def test_sigma_zero_changes_no_more_values_than_the_greedy_way():
    net, x, y = trained()
    smooth, greedy = (found(attack, net, x, y, "l0") for attack in (SigmaZero(steps=200), JSMA()))
    assert np.isfinite(smooth).all()
    assert np.isfinite(greedy).all()
    assert np.median(smooth) <= np.median(greedy)
    assert smooth.mean() <= greedy.mean()


@pytest.mark.parametrize(("attack", "norm"), [(ALMA(), "linf"), (EAD(), "l2"), (JSMA(), "l1"), (SigmaZero(), "l2")])
def test_a_norm_it_does_not_know_is_refused(attack, norm):
    x, y = images(2)
    with pytest.raises(cm.BadInput, match=attack.info.id):
        drive(attack, Net(), cm.Evade(x, y, cm.Ball(norm, 1.0)))


def test_more_steps_are_not_worse():
    x, y = images()
    few, many = (found(ALMA(steps=s), Net(), x, y, "l2") for s in (40, 400))
    assert np.median(many) <= np.median(few) + 1e-9


def test_alma_starts_its_step_over_each_round_and_from_the_first_success_on():
    attack = ALMA(steps=100, rounds=2)
    since = torch.tensor([0.0, 30.0, 80.0, 100.0])  # the last has no success yet
    late = torch.stack([attack._late(since, step) for step in range(100)])
    assert (late[:, 3] == 0).all() and (late[:31, 1] == 0).all()
    assert late[49, :2].min() > 0.9  # settled
    assert (late[50] == 0).all()  # and once more at full length
    assert late[99, 0] == pytest.approx(49 / 50) and late[99, 2] == pytest.approx(19 / 20)


def test_alma_refuses_less_than_one_round():
    x, y = images(2)
    with pytest.raises(cm.BadInput, match="rounds=0"):
        drive(ALMA(rounds=0), Net(), cm.Evade(x, y, cm.Ball("l2", 1.0)))


def test_the_smooth_margin_of_alma_costs_no_call_and_is_the_margin_for_two_classes():
    model, (x, _) = nn.Sequential(Net(), nn.Linear(4, 2, dtype=torch.float64)), images(4)
    y = model(torch.as_tensor(x)).argmax(1).numpy()
    case = cm.Evade(x, y, cm.Ball("l2", np.inf), seek="nearest")
    (smooth, spent), (hard, bare) = (drive(ALMA(steps=60, soften=s), model, case) for s in (0.5, 0.0))
    np.testing.assert_allclose(smooth.x, hard.x, atol=1e-9)
    assert spent.total["gradients"] == bare.total["gradients"] == 60 * len(x)
