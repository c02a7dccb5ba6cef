"""What every set attack must keep: the ledger equation, its budget, an untouched target, and one clear error."""

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.availability.flood import Flood
from casemate.attacks.extraction.artifact_theft import ArtifactTheft
from casemate.attacks.extraction.cryptanalytic import Cryptanalytic
from casemate.attacks.extraction.equation import EquationSolving
from casemate.attacks.extraction.jacobian import JacobianAugmentation
from casemate.attacks.extraction.learning import LearningExtraction
from casemate.attacks.extraction.lowd_meek import LowdMeek
from casemate.attacks.extraction.tree_paths import TreePaths
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.attacks.privacy.entropy import ModifiedEntropy
from casemate.attacks.privacy.label_only import LabelOnly
from casemate.attacks.privacy.lira import LiRA
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.attacks.privacy.quantile import QuantileRegression
from casemate.attacks.privacy.rmia import RMIA
from casemate.attacks.privacy.shadow import ShadowModel
from casemate.core.adversary import Budget, Need, researcher
from casemate.core.case import Copy, Holdout, Infer, Poison, Stall
from casemate.core.errors import TargetFailed
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.runs.sets import set_part

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = (X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(0, 1, 300) > 0).astype(int)


def fit(x, y, seed):
    return cm.wrap(LogisticRegression().fit(x, y))


class Counting:
    """A target that counts the rows it is asked about."""

    def __init__(self):
        self.inner, self.rows = fit(X[:150], Y[:150], 0), 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    name = property(lambda self: self.inner.name)
    offers = property(lambda self: self.inner.offers)
    random = property(lambda self: False)
    classes = property(lambda self: 2)

    def respond(self, x, *, rows=None, draw=0):
        self.rows += len(x)
        return self.inner.respond(x, rows=rows, draw=draw)

    def gradient(self, *args, **kwargs):
        raise NotImplementedError

    def fingerprint(self):
        return self.inner.fingerprint()

    def state(self):
        return self.inner.state()


RECIPE = Recipe(fit=fit, x=X[:150], y=Y[:150])
TRUTH = Holdout(x=X[150:], y=Y[150:])
OTHERS = RNG.normal(size=(120, 4))
MEMBERS = Infer(
    x=X, y=Y, truth=np.arange(300) < 150, population=Holdout(x=OTHERS, y=(OTHERS @ [1.0, -2.0, 0.5, 0.0] > 0).astype(int))
)
STEAL = Copy(pool=X[:150], queries=120, truth=TRUTH)
CASES = {
    LabelFlip(): Poison(recipe=RECIPE, fractions=(0.1,), seeds=(0,), truth=TRUTH),
    LabelFlip(order="random"): Poison(recipe=RECIPE, fractions=(0.1,), seeds=(0,), truth=TRUTH),
    LossThreshold(): Infer(x=X, y=Y, truth=np.arange(300) < 150),
    ShadowModel(shadows=4, trees=5): MEMBERS,
    ModifiedEntropy(shadows=4): MEMBERS,
    LiRA(shadows=4): MEMBERS,
    RMIA(shadows=4): MEMBERS,
    QuantileRegression(trees=5): MEMBERS,
    LabelOnly(rounds=1, probes=5): MEMBERS,
    EquationSolving(): Copy(pool=X[:150], truth=TRUTH),
    LowdMeek(seek=32): STEAL,
    TreePaths(checks=16): STEAL,
    JacobianAugmentation(): STEAL,
    LearningExtraction(): STEAL,
    Cryptanalytic(): STEAL,
    ArtifactTheft(): STEAL,
    Flood(): Stall(x=X[:20], rows=500),
}
def hands(attack, more=Need.NONE):
    """Somebody who holds what the attack needs."""
    return replace(researcher(), may=researcher().may | attack.info.needs | more)


EACH = pytest.mark.parametrize("attack", CASES, ids=repr)


@EACH
@pytest.mark.parametrize("copy", [False, True], ids=["endpoint", "own copy"])
def test_the_ledger_equation_holds(attack, copy):
    target = Counting()
    adversary = hands(attack, Need.ARTIFACT if copy else Need.NONE)
    spent = cm.run(attack, target, CASES[attack], adversary=adversary, known=Known(recipe=RECIPE)).spent
    rows = spent["queries"] + spent["local"] + spent["gradients"] - spent["refused"] + spent["judge"] + spent["health"]
    assert target.rows == rows


@EACH
@pytest.mark.parametrize("queries", [1, 7, 64])
def test_no_budget_is_ever_exceeded(attack, queries):
    budget = Budget(queries=queries, records=5, queries_per_row=1)
    target = Counting()
    evidence = cm.run(attack, target, CASES[attack], adversary=hands(attack), budget=budget)
    assert evidence.spent["queries"] <= queries
    assert evidence.spent["records"] <= 5
    assert all(check.ok for check in evidence.health if check.number == 23)


@EACH
def test_the_target_is_untouched_and_the_outcome_repeats(attack):
    target = fit(X[:150], Y[:150], 0)
    before = target.state()
    first, again = (cm.run(attack, target, CASES[attack], adversary=hands(attack), seed=5) for _ in range(2))
    assert target.state() == before
    assert first.digest() == again.digest()


class Raises(Counting):
    def respond(self, x, *, rows=None, draw=0):
        raise ValueError("the disk is on fire")


class Hangs(Counting):
    def respond(self, x, *, rows=None, draw=0):
        time.sleep(30)


class Mute(Counting):
    def respond(self, x, *, rows=None, draw=0):
        return self.inner.respond(np.concatenate([x, x]))


@EACH
def test_a_target_that_fails_is_named_and_its_words_are_kept(attack):
    for kind, words in ((Raises, "the disk is on fire"), (Mute, "decisions came out")):
        with pytest.raises(TargetFailed, match=words):
            cm.run(attack, kind(), CASES[attack], adversary=hands(attack))


@EACH
def test_a_target_that_hangs_is_cut(attack):
    began = time.perf_counter()
    with pytest.raises(TargetFailed, match="hangs"):
        set_part(attack, CASES[attack], Hangs(), hands(attack), (), Known(), 0, patience=0.1)
    assert time.perf_counter() - began < 10
