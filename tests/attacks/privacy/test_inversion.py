"""The input a model is surest of: its closed form for softmax regression, and what the judge says of prototypes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.privacy.inversion import ModelInversion
from casemate.core.adversary import Adversary, Budget, Need, researcher
from casemate.core.case import Holdout, Invert, Recovered
from casemate.core.errors import BadInput, NotGranted
from casemate.core.evidence import Verdict
from casemate.judges.invert import judge
from casemate.testing.worlds import digits

SCORES = Adversary(name="scores", may=Need.LABEL | Need.SCORE)
K, D = 8, 6
RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(K, D)), RNG.normal(size=K)


def softmax_regression():
    net = nn.Linear(D, K).double()
    with torch.no_grad():
        net.weight.copy_(torch.as_tensor(W))
        net.bias.copy_(torch.as_tensor(B))
    return net


def case(span=100.0, **others):
    side = [Holdout(x=RNG.normal(size=(80, D)), y=np.arange(80) % K) for _ in range(2)]
    given = {"classes": tuple(range(K)), "shape": (D,), "low": -span / 2, "high": span / 2, "truth": side[0], "others": side[1]}
    return Invert(**(given | others))


@pytest.mark.parametrize(("adversary", "near"), [(researcher(), 1e-5), (SCORES, 0.02)], ids=["slopes", "scores"])
def test_under_a_penalty_the_optimum_is_the_closed_form(adversary, near):
    # The slope of log p_c is w_c - sum p_k w_k; at the optimum it is the penalty's, penalty * x / span^2.
    span, penalty = 10.0, 200.0
    found = cm.run(
        ModelInversion(penalty=penalty, queries=10_000), softmax_regression(), case(span), adversary=adversary
    )
    x = found.claims.x
    z = x @ W.T + B
    chance = np.exp(z - z.max(1, keepdims=True))
    chance /= chance.sum(1, keepdims=True)
    assert np.abs((W - chance @ W) * span**2 / penalty - x).max() < near
    assert found.extra["by"] == ("scores" if adversary is SCORES else "slopes")


def test_without_a_penalty_the_climb_ends_where_the_model_is_sure():
    found = cm.run(ModelInversion(), softmax_regression(), case())
    assert min(found.extra["confidence"]) >= 0.99
    assert found.spent["gradients"] < K * 50 and found.spent["queries"] == 0
    alone = cm.run(ModelInversion(), softmax_regression(), case(classes=(3,)))
    assert np.allclose(alone.claims.x[0], found.claims.x[3])


def test_a_large_input_is_climbed_by_scores_within_its_queries():
    found = cm.run(ModelInversion(samples=2, queries=100, penalty=200.0), softmax_regression(), case(10.0), adversary=SCORES)
    assert found.spent["queries"] == K * 100
    capped = cm.run(ModelInversion(samples=2), softmax_regression(), case(), adversary=SCORES, budget=Budget(queries_per_row=17))
    assert 0 < capped.spent["queries"] <= K * 17


def test_prototypes_of_digits_look_like_nobody_more_than_anybody():
    from sklearn.linear_model import LogisticRegression

    x, y = digits()
    model = LogisticRegression(C=0.1, max_iter=300).fit(x[:900], y[:900])
    own = Invert(
        classes=tuple(range(10)), shape=(64,), truth=Holdout(x=x[:900], y=y[:900]), others=Holdout(x=x[900:], y=y[900:])
    )
    found = cm.run(ModelInversion(samples=64, steps=60, queries=20_000), model, own, adversary=SCORES)
    assert min(found.extra["confidence"]) > 0.9
    assert not found.broken and found.n == 10
    assert len(found.extra["psnr_class_mean"]) == 10


def test_handing_in_members_is_a_leak_and_others_are_not():
    given = case()
    members = np.stack([given.truth.x[given.truth.y == c][0] for c in range(K)])
    others = np.stack([given.others.x[given.others.y == c][0] for c in range(K)])
    leak, none = (judge(given, Recovered(x=x, y=np.arange(K)), 0) for x in (members + 0.01, others + 0.01))
    assert leak.broken and leak.rate == 1 and leak.interval.low > 0.6
    assert not none.broken and none.rate == 0
    assert min(leak.extra["psnr_member"]) > max(leak.extra["psnr_other"])


def test_the_larger_side_is_not_nearer_by_its_number():
    """All records are alike: a hundred times as many members must not make the nearest one nearer than chance."""
    rng, k = np.random.default_rng(3), 60
    many = Holdout(x=rng.normal(size=(k * 100, 2)), y=np.arange(k * 100) % k)
    few = Holdout(x=rng.normal(size=(k, 2)), y=np.arange(k))
    given = Invert(classes=tuple(range(k)), shape=(2,), low=-5.0, high=5.0, truth=many, others=few)
    opinion = judge(given, Recovered(x=rng.normal(size=(k, 2)), y=np.arange(k)), 0)
    assert not opinion.broken and 0.3 < opinion.rate < 0.7


def test_five_classes_show_nothing():
    given = case(classes=(0, 1, 2, 3, 4))
    found = cm.run(ModelInversion(steps=2), softmax_regression(), given)
    assert found.verdict is Verdict.INCONCLUSIVE and any("6 are the fewest" in reason for reason in found.reasons)


def test_a_saturated_model_ends_quietly():
    def sure(x):
        return np.tile([1.0, 0.0], (len(x), 1))

    target = cm.wrap(sure, output="scores", classes=2, name="sure")
    given = case(classes=(0, 1))
    found = cm.run(ModelInversion(), target, given, adversary=SCORES)
    assert np.isfinite(found.claims.x).all() and found.extra["confidence"][1] == 0


def test_what_cannot_be_attacked_is_said():
    net = softmax_regression()
    wrong = {
        "none of them twice": case(classes=(0, 0)),
        "low below high": case(low=1.0, high=1.0),
        "shape of one input": case(shape=()),
        "give truth=": case(truth=None),
    }
    for words, bad in wrong.items():
        with pytest.raises(BadInput, match=words):
            cm.run(ModelInversion(steps=2), net, bad)
    with pytest.raises(BadInput, match="for class 9"):
        cm.run(ModelInversion(), net, case(classes=(9,)), adversary=SCORES)
    with pytest.raises(NotGranted):
        cm.run(ModelInversion(), net, case(), adversary=replace(SCORES, may=Need.LABEL))
    with pytest.raises(BadInput, match="threshold"):
        ModelInversion(threshold=0.0)
