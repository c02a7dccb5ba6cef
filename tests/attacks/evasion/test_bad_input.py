"""Bad input to the attacks: the right answer or one clear refusal, never a traceback, never comfort, never a changed target.

A small linear model stands in for the system: whatever is wrong with it or with the data, its answers are known.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks import APGD, APGDT, FABT, FMN, PGD, AutoAttack, CarliniWagner, HopSkipJump, RayS, Square, Standard, Transfer
from casemate.targets.pipeline import Stage
from casemate.testing.toys import Tiring, linear

torch.set_num_threads(1)

# One for each scope and each access, with as few steps as still break the toy.
ATTACKS = {
    "pgd": PGD(steps=6, stride=0.4),
    "apgd_ce": APGD(steps=6),
    "apgd_t": APGDT(steps=6, targets=2),
    "fab_t": FABT(steps=4, targets=3, search=2),
    "fmn": FMN(steps=20),
    "carlini_wagner": CarliniWagner(searches=2, steps=20, stride=0.1, weight=10.0, polish=3),
    "square": Square(steps=15),
    "hopskipjump": HopSkipJump(steps=1),
    "rays": RayS(queries=50),
    "autoattack": AutoAttack(),
    "standard": Standard(),
    "transfer": Transfer(steps=6, check_every=2),
}
LABELS = ("square", "hopskipjump", "rays", "transfer")  # take no slope of the target
SLOPES = tuple(name for name in ATTACKS if name not in LABELS)
CASCADES = ("autoattack", "standard")
CAPPED = cm.Budget(queries_per_row=60, gradients_per_row=60)  # cascades have no parameters to make them small
TOY = linear(classes=4, shape=(9,))
X, Y = TOY.inputs(20)  # from 17 rows on a rate of nothing may be called resisted
REFUSALS = (cm.BadInput, cm.NotGranted, cm.TargetFailed)
every = pytest.mark.parametrize("name", ATTACKS)


def ball(name, radius=0.3, low=0.0, high=1.0):
    """A ball of a norm that the attack has, in which about everything falls."""
    return cm.Ball("l2", 2 * radius, low, high) if name == "carlini_wagner" else cm.Ball("linf", radius, low, high)


def attacked(name, target, x=X, y=Y, within=None, *, toy=TOY, budget=None, services=(), **options):
    """The evidence of an attack, after looking that nothing was changed and no claim lies outside."""
    target = cm.wrap(target)
    before, given = target.state(), np.array(x)
    within = ball(name) if within is None else within
    budget = CAPPED if budget is None and name in CASCADES else budget
    known = cm.Known(parent=cm.wrap(toy.module()))
    case = cm.Evade(x, y, within, **options)
    try:
        evidence = cm.run(ATTACKS[name], target, case, budget=budget, known=known, controls=services)
    finally:
        assert target.state() == before, "the target was changed"
        np.testing.assert_array_equal(np.array(x), given)
    assert within.check(evidence.claims.x, x).all()
    assert evidence.rows["inside"].all()
    return evidence


def refused(name, target, *args, error=REFUSALS, match, **options):
    """The attack is refused, in words."""
    with pytest.raises(error, match=match) as found:
        attacked(name, target, *args, **options)
    assert len(str(found.value).splitlines()) == 1
    assert not isinstance(found.value.__cause__, AssertionError)


def failing(evidence):
    return {check.number for check in evidence.health if check.ok is False}


class Changed(nn.Module):
    """The toy with something done to its logits."""

    def __init__(self, change, toy=TOY):
        super().__init__()
        self.inner, self.change = toy.module(), change
        self.eval()

    def forward(self, x):
        return self.change(self.inner(x), x)


# -- what comes out of the model ---------------------------------------------------------------------------------------


@every
def test_probabilities_instead_of_logits_are_said(name):
    evidence = attacked(name, Changed(lambda logits, x: logits.softmax(1)))
    assert evidence.verdict == "broken"
    assert 6 in failing(evidence)
    line = next(check for check in evidence.health if check.number == 6)
    assert "probabilities" in line.detail
    assert evidence.rate >= attacked(name, TOY.module()).rate - 0.35


@every
def test_constant_outputs_show_nothing(name):
    always = Changed(lambda logits, x: logits * 0 + torch.tensor([0.5, 3.0, 0.0, 0.0]))
    evidence = attacked(name, always, X, np.full(20, 1))
    assert evidence.verdict == "inconclusive"
    assert (evidence.rate, evidence.n) == (0, 20)
    assert 14 in failing(evidence)
    assert not evidence.rows["believed"].any()
    np.testing.assert_array_equal(evidence.claims.x, X)


class Elsewhere(nn.Module):
    """NaN for every input but the ones known."""

    def __init__(self):
        super().__init__()
        self.inner = TOY.module()
        self.register_buffer("known", torch.as_tensor(X))
        self.eval()

    def forward(self, x):
        away = torch.cdist(x, self.known).amin(1, keepdim=True) > 1e-3
        return torch.where(away, torch.nan, self.inner(x))


@every
@pytest.mark.parametrize("make", [lambda: Changed(lambda logits, x: logits * torch.nan), Elsewhere], ids=["always", "elsewhere"])
def test_a_model_that_answers_nan_has_failed(name, make):
    refused(name, make(), error=cm.TargetFailed, match="NaN")


def test_a_function_that_answers_nan_has_failed_too():
    refused("square", cm.wrap(lambda x: TOY(x) * np.nan, output="logits", classes=4), error=cm.TargetFailed, match="finite")


class NoSlope(torch.autograd.Function):
    """The identity, with a slope that is not a number."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope * torch.nan


@every
@pytest.mark.parametrize("dead", ["zero", "nan"])
def test_zero_and_nan_slopes_are_no_robustness(name, dead):
    flat = {
        "zero": lambda logits, x: logits.detach() + 0 * x.sum(1, keepdim=True),
        "nan": lambda logits, x: NoSlope.apply(logits),
    }[dead]
    evidence = attacked(name, Changed(flat))
    assert np.isfinite(evidence.claims.x).all()
    assert evidence.verdict in ("broken", "inconclusive")
    if name in SLOPES:
        assert 7 in failing(evidence)
    if name not in SLOPES or name in CASCADES:
        assert evidence.rate > 0.8
    elif not evidence.rate:
        assert evidence.verdict == "inconclusive"
        np.testing.assert_array_equal(evidence.claims.x, X)


# -- the model's mode ---------------------------------------------------------------------------------------------------


def modes(module):
    return [part.training for part in module.modules()]


@every
def test_a_model_in_training_mode_is_attacked_as_deployed_and_left_so(name):
    def make():
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(4)
        norm.running_mean.copy_(torch.tensor([0.1, -0.1, 0.05, 0.0]))
        return nn.Sequential(TOY.module(), norm, nn.Dropout(0.5))

    deployed, training = make().eval(), make().train()
    own = {key: value.clone() for key, value in training.state_dict().items()}
    flags = modes(training)
    y = cm.wrap(deployed).respond(X).label.numpy()
    want, found = attacked(name, deployed, X, y), attacked(name, training, X, y)
    np.testing.assert_array_equal(found.claims.x, want.claims.x)
    np.testing.assert_array_equal(found.rows["broken"], want.rows["broken"])
    assert found.verdict == "broken"
    assert modes(training) == flags
    for key, value in training.state_dict().items():
        assert torch.equal(value, own[key]), key


class Untamed(nn.Module):
    """Normalises by its batch whatever mode it is in: no row has an answer of its own, and every call changes it."""

    def __init__(self):
        super().__init__()
        self.inner = TOY.module()
        self.register_buffer("mean", torch.zeros(4))
        self.eval()

    def forward(self, x):
        logits = self.inner(x)
        self.mean.lerp_(logits.detach().mean(0), 0.1)
        return logits - logits.mean(0) / 2


@pytest.mark.parametrize("name", ["pgd", "square", "hopskipjump", "standard"])
def test_normalising_by_the_batch_against_all_wishes_is_no_robustness(name):
    target = cm.wrap(Untamed())
    y = target.respond(X).label.numpy()
    evidence = cm.run(ATTACKS[name], target, cm.Evade(X, y, ball(name, 1e-4)), budget=CAPPED)
    assert evidence.verdict != "resisted"
    assert 2 in failing(evidence)  # running statistics move: the target touched itself


# -- the data -----------------------------------------------------------------------------------------------------------


@every
def test_one_sample(name):
    evidence = attacked(name, TOY.module(), X[:1], Y[:1])
    assert (evidence.n, evidence.verdict) == (1, "broken")


@every
def test_samples_of_one_class(name):
    one = Y[0] == Y
    evidence = attacked(name, TOY.module(), X[one], Y[one])
    assert evidence.n == one.sum()
    assert evidence.verdict == "broken"


@every
def test_a_model_of_one_output_decides_no_classes(name):
    number = nn.Sequential(nn.Flatten(), nn.Linear(9, 1)).requires_grad_(False).eval()
    evidence = attacked(name, number, X, np.zeros(20, int))
    assert (evidence.n, evidence.verdict) == (0, "inconclusive")
    assert "numbering" in evidence.reasons[0]
    with pytest.raises(cm.BadInput, match="at least 2"):
        cm.wrap(lambda x: np.zeros((len(x), 1)), output="logits", classes=1)


@every
def test_labels_of_another_numbering_are_told(name):
    evidence = attacked(name, TOY.module(), X, Y + 40)
    assert (evidence.n, evidence.verdict) == (0, "inconclusive")
    assert "numbering" in evidence.reasons[0]


@every
def test_labels_that_are_floats_are_classes(name):
    evidence = attacked(name, TOY.module(), X, Y.astype(float))
    np.testing.assert_array_equal(evidence.rows["broken"], attacked(name, TOY.module()).rows["broken"])


@pytest.mark.parametrize("name", ["pgd", "apgd_ce", "fmn", "carlini_wagner", "standard", "transfer"])
def test_a_wished_class_that_there_is_not_is_the_caller_s_mistake(name):
    refused(name, TOY.module(), error=cm.BadInput, match="goal's class", goal=cm.Becomes(99))


def test_a_loss_that_fails_is_no_failure_of_the_target():
    def loss(logits, y):
        return logits[:, 99]

    refused("pgd", TOY.module(), error=cm.BadInput, match="loss cannot be had", loss=loss)


def test_labels_that_are_no_numbers_are_refused():
    for bad in (np.where(np.arange(20) == 3, np.nan, Y), np.where(np.arange(20) == 3, np.inf, Y)):
        with pytest.raises(cm.BadInput, match=r"first: \[3\]"):
            cm.Evade(X, bad, cm.Ball("linf", 0.1))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.calls = TOY.module(), []
        self.eval()

    def forward(self, x):
        self.calls.append(len(x))
        return self.inner(x)


@every
@pytest.mark.parametrize(("x", "words"), [(X * 3, "outside the domain"), (X - 0.5, "outside"), (X * np.nan, "not finite")], ids=range(3))
def test_inputs_out_of_range_are_refused_before_anything_is_asked(name, x, words):
    model = Counting()
    with pytest.raises(cm.BadInput, match=words):
        cm.run(ATTACKS[name], model, cm.Evade(x, Y, ball(name)), known=cm.Known(parent=cm.wrap(model)))
    assert not model.calls


@every
def test_a_radius_of_zero_breaks_nothing_and_moves_nothing(name):
    evidence = attacked(name, TOY.module(), within=ball(name, 0.0))
    assert evidence.rate == 0
    assert evidence.verdict != "broken"
    assert not evidence.rows["believed"].any()
    np.testing.assert_array_equal(evidence.claims.x, X)


@every
def test_a_radius_larger_than_the_box_is_the_box(name):
    wide = attacked(name, TOY.module(), within=ball(name, 50.0))
    assert wide.verdict == "broken"
    assert wide.rate > 0.6
    assert wide.claims.x.min() >= 0
    assert wide.claims.x.max() <= 1


@every
def test_a_target_class_equal_to_the_truth_is_no_success(name):
    wished = int(Y[0])
    same = wished == Y
    nothing = attacked(name, TOY.module(), X[same], Y[same], goal=cm.Becomes(wished))
    assert (nothing.n, nothing.rate, nothing.verdict) == (0, 0, "inconclusive")
    some = attacked(name, TOY.module(), goal=cm.Becomes(wished), within=ball(name, 0.6))
    assert some.n == (~same).sum()
    assert not some.rows["broken"][same].any()
    np.testing.assert_array_equal(some.claims.x[same], X[same])
    assert some.rate > 0.5


@every
def test_images_that_are_not_square(name):
    toy = linear(classes=4, shape=(3, 5, 7))
    x, y = toy.inputs(6)
    evidence = attacked(name, toy.module(), x, y, toy=toy)
    assert evidence.verdict == "broken"
    assert evidence.claims.x.shape == (6, 3, 5, 7)


@every
def test_inputs_in_float64_and_in_whole_numbers(name):
    single, double = attacked(name, TOY.module()), attacked(name, TOY.module(), X.astype(np.float64))
    assert abs(single.rate - double.rate) <= 0.1  # not the same to the last bit
    assert (single.claims.x.dtype, double.claims.x.dtype) == (np.float32, np.float64)
    toy = linear(classes=4, shape=(9,), low=0, high=255)
    x = toy.inputs(20)[0].round().astype(np.uint8)
    whole = attacked(name, toy.module(), x, toy(x).argmax(1), ball(name, 80.0, 0, 255), toy=toy)
    assert whole.verdict == "broken"
    assert whole.rate > 0.5
    moved = whole.rows["broken"]
    assert np.abs(whole.claims.x - x.astype(float))[moved].max() > 0


# -- a target that is slow, random, or rate-limited ------------------------------------------------------------------------


def dawdling(logits, x):
    time.sleep(0.004)
    return logits


@every
def test_a_slow_target_ends_with_the_time_and_says_so(name):
    budget = cm.Budget(seconds=0.003, queries_per_row=30, gradients_per_row=30)
    evidence = attacked(name, Changed(dawdling), budget=budget, within=ball(name, 1e-5))
    assert evidence.verdict == "inconclusive"
    said = [evidence.extra.get("stopped", ""), *(stage["stopped"] for stage in evidence.extra.get("stages", ()))]
    assert any("time" in words for words in said), said


@pytest.mark.parametrize("name", LABELS)
def test_a_target_that_hangs_is_told(name):
    asked = []

    def hanging(x):
        asked.append(len(x))
        if len(asked) > 2:
            time.sleep(0.4)
        return TOY(x)

    target = cm.wrap(hanging, output="logits", classes=4, timeout_s=0.1, name="sleepy")
    with pytest.raises(cm.TargetFailed, match="sleepy hung on a batch"):
        cm.run(ATTACKS[name], target, cm.Evade(X, Y, ball(name)), known=cm.Known(parent=cm.wrap(TOY.module())))


def trembling(x, rows, draw):
    noise = cm.RowRandom(5).normal(np.asarray(rows), draw, tuple(x.shape[1:]))
    return x + 0.02 * torch.as_tensor(noise, dtype=x.dtype)


@every
def test_a_random_target_is_voted_on(name):
    target = cm.wrap(TOY.module(), stages=(Stage(name="tremble", forward=trembling, random=True),))
    evidence = attacked(name, target, X[:8], Y[:8])
    assert evidence.verdict == "broken"
    assert evidence.extra["votes"] == 20
    assert 5 not in failing(evidence)


@every
def test_randomness_that_nobody_declared_is_seen(name):
    torch.manual_seed(0)
    secretly = Changed(lambda logits, x: logits + 0.3 * torch.randn(logits.shape))
    evidence = attacked(name, secretly, X[:8], Y[:8])
    assert 5 in failing(evidence)
    assert evidence.verdict in ("broken", "inconclusive")


@pytest.mark.parametrize("name", [*LABELS, "standard"])
@pytest.mark.parametrize("rows", [0, 30])
def test_a_rate_limit_that_ends_the_attack_is_no_robustness(name, rows):
    target = cm.wrap(TOY, output="logits", classes=4)
    evidence = attacked(name, target, within=ball(name, 1e-4), services=(Tiring(rows=rows),))
    assert evidence.verdict == "inconclusive"
    assert evidence.rows["blocked"].any() or evidence.extra["stopped"]
    assert evidence.spent["queries"] - evidence.spent["refused"] <= rows


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_of_a_target_that_has_none_are_refused(name):
    target = cm.wrap(TOY, output="logits", classes=4)
    if name == "standard":  # takes what there is
        assert attacked(name, target).verdict == "broken"
    else:
        refused(name, target, error=cm.NotGranted, match="no (gradient|jacobian)")
