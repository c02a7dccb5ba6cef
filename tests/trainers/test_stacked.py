"""Networks trained side by side: what one learns is its own affair."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from casemate.core.errors import BadInput
from casemate.trainers import MLP, Fits, Softmax, stacked, train_many
from casemate.trainers.cache import memory


@pytest.fixture(autouse=True)
def _forget():
    memory.clear()


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    rng = np.random.default_rng(0)
    weights = (rng.random((6, len(data.target))) < [[0.5], [0.5], [0.3], [0.5], [0.7], [0.2]]).astype(int)
    return data.data / 16, data.target, weights


def test_digits_are_learned(digits):
    x, y, weights = digits
    out = train_many(MLP(epochs=30), x, y, weights[:2], seeds=[0, 1], ask=x)
    unseen = [(out.logits[0][i].argmax(1) == y)[weights[i] == 0].mean() for i in range(2)]
    assert min(unseen) > 0.95 and out.accuracy.min() > 0.99
    assert not out.failed.any() and out.reasons == "" and out.logits[0].dtype == np.float32
    own = weights[0] > 0
    assert out.accuracy[0] == pytest.approx((out.logits[0][0].argmax(1) == y)[own].mean())
    expected = nn.functional.cross_entropy(torch.as_tensor(out.logits[0][0][own]).double(), torch.as_tensor(y[own]))
    assert out.loss[0] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    "learner",
    [
        MLP((16,), epochs=3, double=True),
        MLP((16, 8), epochs=3, optimiser="adam", decay=1e-3, double=True),
        MLP((16,), epochs=2, clip=1.0, noise=0.5, decay=1e-3, double=True),
        MLP((16,), epochs=3),
        MLP((), epochs=2, clip=0.5),
    ],
)
def test_alone_as_in_a_stack(digits, learner):
    x, y, weights = digits
    seeds = [7, 3, 5, 1, 0, 9]
    together = train_many(learner, x, y, weights, seeds=seeds, ask=x[:200])
    memory.clear()
    for i in (0, 2, 5):  # of most rows, of fewest, in between: they end at different steps
        alone = train_many(learner, x, y, weights[[i]], seeds=[seeds[i]], ask=x[:200], classes=10)
        close = 1e-9 if learner.double else 1e-5
        np.testing.assert_allclose(alone.logits[0][0], together.logits[0][i], atol=close, rtol=close)


def test_again_the_same_and_seeds_differ(digits):
    x, y, weights = digits
    learner = MLP((8,), epochs=2)
    once = train_many(learner, x, y, weights[:2], seeds=[0, 1], ask=x).logits[0]
    memory.clear()
    again = train_many(learner, x, y, weights[:2], seeds=[0, 1], ask=x).logits[0]
    np.testing.assert_array_equal(once, again)
    memory.clear()
    other = train_many(learner, x, y, weights[[0, 0]], seeds=[0, 5], ask=x).logits[0]
    np.testing.assert_allclose(other[0], once[0], atol=1e-5)
    assert np.abs(other[1] - once[0]).max() > 0.1


def _theirs(sizes, weights):
    """The same network in torch."""
    layers = [nn.Linear(a, b).double() for a, b in pairwise(sizes)]
    start = 0
    for layer in layers:
        many = layer.weight.numel()
        layer.weight.data = torch.as_tensor(weights[start : start + many]).view(layer.in_features, -1).T.contiguous()
        layer.bias.data = torch.as_tensor(weights[start + many : start + many + layer.out_features])
        start += many + layer.out_features
    net = [step for layer in layers for step in (layer, nn.ReLU())][:-1]
    return nn.Sequential(*net)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_steps_are_those_of_torch(optimiser):
    """One batch in a pass, so that the order of rows is nothing: automatic differentiation and torch's optimisers agree."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 5)), rng.integers(0, 3, 20)
    learner = MLP((7, 6), epochs=9, batch=20, optimiser=optimiser, rate=0.05, decay=0.01, double=True)
    ours = stacked.train(learner, x, y, [np.arange(20)], [4], 3)[0]
    net = _theirs((5, 7, 6, 3), stacked.fresh((5, 7, 6, 3), np.random.default_rng(4), np.float64))
    kind = {"sgd": lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.01), "adam": lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.01)}
    steps = kind[optimiser](net.parameters())
    for _ in range(9):
        steps.zero_grad()
        nn.functional.cross_entropy(net(torch.as_tensor(x)), torch.as_tensor(y)).backward()
        steps.step()
    theirs = net(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(stacked.answers(ours[None], learner, x, 3)[0], theirs, atol=1e-9)


def test_each_example_is_clipped():
    """The gradient is the sum of the examples' own gradients, each cut to the length."""
    rng = np.random.default_rng(2)
    x, y = 3 * rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    sizes, clip = (4, 5, 3), 0.7
    weights = stacked.fresh(sizes, rng, np.float64)
    net, total, cut = _theirs(sizes, weights), 0.0, 0
    for i in range(6):
        loss = nn.functional.cross_entropy(net(torch.as_tensor(x[[i]])), torch.as_tensor(y[[i]]))
        flat = torch.cat([g.mT.flatten() if g.ndim == 2 else g for g in torch.autograd.grad(loss, list(net.parameters()))])
        cut += float(flat.norm()) > clip
        total = total + flat * min(1.0, clip / float(flat.norm())) / 6
    stack = stacked.Stack.of(torch.as_tensor(weights)[None], sizes)
    into, share = stack.like(), torch.full((1, 6, 1), 1 / 6, dtype=torch.float64)
    stacked.slopes(stack, into, torch.as_tensor(x)[None], torch.as_tensor(y)[None, :, None], share, clip)
    assert 0 < cut <= 6
    np.testing.assert_allclose(into.rows()[0], total, atol=1e-12)


def test_noise_is_as_wide_as_asked_and_sampling_as_accounted():
    """Zero inputs and a tiny clip: what moves the first weights is noise alone, of ``rate * noise * clip / batch`` a step."""
    n, learner = 64, MLP((), epochs=1, batch=16, rate=1.0, momentum=0.0, clip=1e-3, noise=5.0, double=True)
    x, y = np.zeros((n, 500)), np.arange(n) % 2
    made = stacked.train(learner, x, y, [np.arange(n)] * 8, range(8), 2)
    begun = np.stack([stacked.fresh((500, 2), np.random.default_rng(s), np.float64) for s in range(8)])
    spread = (made - begun)[:, :1000].std()
    assert spread == pytest.approx(4**0.5 * 5.0 * 1e-3 / 16, rel=0.05)  # four steps
    from casemate.trainers._batches import batches

    plan = batches(learner, [np.arange(n)], [np.random.default_rng(0)], n)
    sizes = [int((plan.at(step, np.array([0]))[0] != n).sum()) for step in range(2000)]
    assert np.mean(sizes) == pytest.approx(16, abs=0.4) and np.var(sizes) == pytest.approx(12, rel=0.15)  # binomial


def test_every_row_once_in_a_pass():
    from casemate.trainers._batches import batches

    rows = np.array([3, 3, 5, 8, 9, 1, 0])
    plan = batches(MLP(batch=3, epochs=2), [rows], [np.random.default_rng(0)], 10)
    assert plan.steps.tolist() == [6]
    for first in (0, 3):
        drawn, shares = zip(*(plan.at(first + step, np.array([0])) for step in range(3)), strict=True)
        seen = np.concatenate([d[0] for d in drawn])
        assert sorted(seen[seen != 10]) == sorted(rows)
        assert [s.sum() for s in shares] == pytest.approx([1, 1, 1])  # also of the short batch


def test_a_row_that_counts_twice_is_there_twice():
    x, y = np.array([[0.0], [1.0], [1.0]]), np.array([0, 1, 0])
    learner = MLP((), epochs=300, batch=8, rate=0.5, double=True)
    out = train_many(learner, x, y, [[0, 3, 1]], seeds=[0], ask=x)
    logits = out.logits[0][0, 1]
    assert np.exp(logits[1]) / np.exp(logits).sum() == pytest.approx(0.75, abs=1e-6)


def test_labels_of_its_own(digits):
    x, y, weights = digits
    turned = np.stack([y, (y + 1) % 10])
    out = train_many(MLP((32,), epochs=15), x, turned, weights[[0, 0]], seeds=[0, 0], ask=x)
    assert [(out.logits[0][i].argmax(1) == turned[i]).mean() > 0.9 for i in range(2)] == [True, True]


def test_who_learned_nothing_is_told(digits):
    x, y, weights = digits
    blind = train_many(MLP((8,), epochs=2, rate=1e-12), x, y, weights[:3], seeds=[0, 1, 2], ask=x)
    assert blind.failed.sum() >= 2 and "commonest class" in blind.reasons  # by luck one may begin well
    with np.errstate(all="ignore"):
        burst = train_many(MLP((8,), epochs=2, rate=1e30), x, y, weights[:2], seeds=[0, 1], ask=x)
    assert burst.failed.all() and "not finite" in burst.why[0] and np.isnan(burst.accuracy).all()
    weights = weights[:3].copy()
    weights[1] = 0
    out = train_many(MLP((8,), epochs=3), x, y, weights, seeds=[0, 1, 2], ask=x)
    assert out.failed.tolist() == [False, True, False] and "no training rows" in out.why[1]
    assert np.isnan(out.logits[0][1]).all() and np.isfinite(out.logits[0][[0, 2]]).all()


def test_a_single_class_is_told(digits):
    x, y, weights = digits
    weights = weights[:2] * np.stack([y == 4, np.ones(len(y))]).astype(int)
    for learner in (MLP((8,), epochs=2), Softmax()):
        out = train_many(learner, x, y, weights, seeds=[0, 1], ask=x[:5])
        assert out.failed.tolist() == [True, False]


def test_threads_are_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with stacked.one_thread():
            assert torch.get_num_threads() == 1
        with pytest.raises(KeyboardInterrupt), stacked.one_thread():
            raise KeyboardInterrupt
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_wide_networks_go_one_by_one_and_answer_alike(digits, monkeypatch):
    from casemate.trainers import many

    x, y, weights = digits
    learner = MLP((24,), epochs=3)
    stack = train_many(learner, x, y, weights[:3], seeds=[0, 1, 2], ask=x)
    memory.clear()
    monkeypatch.setattr(many, "WIDE", 24)
    alone = train_many(learner, x, y, weights[:3], seeds=[0, 1, 2], ask=x)
    np.testing.assert_allclose(alone.logits[0], stack.logits[0], atol=1e-5)


def test_progress_counts_up(digits):
    x, y, weights = digits
    told = []
    train_many(MLP((8,), epochs=3), x, y, weights, seeds=range(6), ask=x, show=lambda done, models: told.append((done, models)))
    assert [t[0] for t in told] == sorted(t[0] for t in told) and told[-1] == (6, 6) and len(told) > 5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(hidden=64), "hidden"), (dict(hidden=(0,)), "hidden"), (dict(epochs=0), "epochs"), (dict(batch=2.5), "batch"),
        (dict(rate=0), "rate"), (dict(rate=float("nan")), "rate"), (dict(optimiser="lion"), "sgd or adam"), (dict(momentum=1), "momentum"),
        (dict(decay=-1), "decay"), (dict(clip=0), "clip"), (dict(noise=1.0), "clip"), (dict(clip=1.0, noise=-1), "noise"),
    ],
)  # fmt: skip
def test_learners_say_what_is_allowed(wrong, said):
    with pytest.raises(BadInput, match=said):
        MLP(**wrong)


@pytest.mark.parametrize("make", [lambda: Softmax(l2=0), lambda: Softmax(tol=-1), lambda: Fits(3), lambda: Fits(len, workers=0)])
def test_the_others_too(make):
    with pytest.raises(BadInput, match="got"):
        make()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(weights=np.ones((2, 3))), "weights say which rows"), (dict(weights=-np.ones((1, 4))), "from 0 up"),
        (dict(weights=np.full((1, 4), 0.5)), "whole numbers"), (dict(y=np.array(["a", "b", "a", "b"])), "numbers the classes"),
        (dict(y=np.array([0, -1, 0, 1])), "numbers the classes"), (dict(y=np.zeros(4, int)), "at least 2"), (dict(classes=1), "at least 2"),
        (dict(x=np.full((4, 2), np.nan)), "not finite"), (dict(x=np.array([["a"], ["b"], ["c"], ["d"]])), "arrays of numbers"),
        (dict(x=np.ones(4)), "one row"), (dict(ask=np.ones((2, 3))), "asked about rows of 3"), (dict(seeds=[]), "seeds"),
        (dict(seeds=[-1]), "from 0 up"), (dict(learner="mlp"), "a learner is"), (dict(y=np.zeros((2, 4), int)), "got shape"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(change, said):
    given = dict(learner=MLP(epochs=1), x=np.eye(4, 2), y=np.array([0, 1, 0, 1]), weights=np.ones((1, 4)), seeds=[0], ask=np.ones((1, 2)))
    given |= change
    with pytest.raises(BadInput, match=said):
        train_many(given.pop("learner"), given.pop("x"), given.pop("y"), given.pop("weights"), **given)
