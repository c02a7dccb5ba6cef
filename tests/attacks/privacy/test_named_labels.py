"""Labels that are names, of a pipeline over a frame with a column of words: every attack sees the same as with indices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import casemate as cm
from casemate.attacks._shadows import forget
from casemate.core.adversary import Adversary, Need, researcher
from casemate.core.attack import attacks
from casemate.core.case import Audit, Backdoor, Holdout, Infer, Poison, Property
from casemate.core.errors import BadInput
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.runs.named import Ordered, indices, named, numbered

N = 320
RNG = np.random.default_rng(1)
JOB = RNG.choice(["cook", "clerk", "driver"], N)
FRAME = pd.DataFrame({"age": RNG.integers(18, 80, N), "pay": RNG.normal(size=N), "job": JOB})
PLACES = ((FRAME["age"] > 45).to_numpy() ^ (RNG.random(N) < 0.3)).astype(int)
WORDS = np.array(["no", "yes"])[PLACES]
SHADOWED = ("lira", "rmia", "shadow", "truth_serum", "entropy")
IDS = (*SHADOWED, "quantile", "label_only", "loss_threshold")
CASES = [*((name, "array") for name in IDS), *(("lira", kind) for kind in ("objects", "series", "list"))]


def pipeline(x, y, seed):
    read = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough")
    return make_pipeline(read, DecisionTreeClassifier(max_depth=6, random_state=seed)).fit(x, y)


def fit_words(x, y, seed):
    assert set(np.asarray(y)) <= {"no", "yes"}, "the owner's function is written for the owner's labels"
    return cm.wrap(pipeline(x, y, seed))


def fit_places(x, y, seed):
    return cm.wrap(pipeline(x, y, seed))


def world(y, fit, **how):
    case = Infer(x=FRAME[:120], y=y[:120], truth=np.arange(120) < 60, population=Holdout(x=FRAME[120:], y=y[120:]))
    return cm.wrap(pipeline(FRAME[:60], y[:60], 0), **how), case, Known(recipe=Recipe(fit, FRAME[:60], y[:60], "1"))


def ran(name, y, fit, **how):
    forget()
    target, case, known = world(y, fit, **how)
    return cm.run(attacks.get(f"privacy.{name}")(**({"shadows": 8} if name in SHADOWED else {})), target, case, known=known)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_labels_that_are_names_do_as_well_as_indices_regression(name, kind):
    make = {"array": np.asarray, "objects": lambda y: y.astype(object), "series": pd.Series, "list": list}[kind]
    words, places = ran(name, make(WORDS), fit_words), ran(name, PLACES, fit_places)
    np.testing.assert_array_equal(words.rows["score"], places.rows["score"])
    assert set(words.rows["label"]) == {"no", "yes"} and words.extra["auc"] == places.extra["auc"] > 0.55


def test_the_order_of_the_target_is_taken_where_it_tells_one_regression():
    one, other = ran("lira", WORDS, fit_words), ran("lira", WORDS, fit_words, positive="no")
    for found in (one, other):  # in a wrong order shadows would be wrong where they are right
        assert found.extra["shadows_train_accuracy"] > 0.8
    assert other.extra["auc"] == pytest.approx(one.extra["auc"], abs=0.05)


def test_a_canary_with_a_name_for_a_label_is_audited_regression():
    wrong = np.where(WORDS == "yes", "no", "yes")[60:120]
    target, _, known = world(WORDS, fit_words)
    case = Audit(x=FRAME[60:120], y=wrong, truth=np.arange(60) % 2 == 0, epsilon=1.0)
    assert cm.run("privacy.canary", target, case, known=known).n == 60


def test_a_property_is_told_of_victims_with_named_labels_regression():
    found = []
    for y, fit in ((WORDS, fit_words), (PLACES, fit_places)):
        target, _, known = world(y, fit)
        cook = JOB == "cook"
        case = Property(
            recipe=known.recipe, pool=Holdout(x=FRAME[:160], y=y[:160]), flag=cook[:160], size=40, victims=3,
            truth=Holdout(x=FRAME[160:], y=y[160:]), truth_flag=cook[160:],
        )  # fmt: skip
        found.append(cm.run("privacy.property", target, case, known=known))
    assert found[0].rate == found[1].rate and found[0].n == found[1].n > 0


@pytest.mark.parametrize("may", [researcher().may, Need.CONTRIBUTE | Need.LABEL], ids=["reads the data", "contributes"])
@pytest.mark.parametrize("name", ["label_flip", "feedback", "badnets"])
def test_names_are_flipped_to_names(name, may):
    rates = []
    for y, fit in ((WORDS, fit_words), (PLACES, fit_places)):
        target, _, known = world(y, fit)
        aim = {"aim": Backdoor(to=1)} if name == "badnets" else {}
        truth = Holdout(x=FRAME[120:], y=y[120:])
        case = Poison(recipe=known.recipe, truth=truth, seeds=(0,), fractions=(0.2,), **aim)
        known = replace(known, data=(known.recipe.x, known.recipe.y))
        rates.append(cm.run(f"poisoning.{name}", target, case, adversary=Adversary(name="eve", may=may), known=known).rate)
    assert rates[0] == rates[1]


def test_a_name_the_target_does_not_know_is_refused():
    target, case, known = world(WORDS, fit_words)
    strange = np.where(np.arange(120) == 7, "maybe", WORDS[:120])
    with pytest.raises(BadInput, match="'maybe' is no class of the target; it has no, yes"):
        cm.run("privacy.lira", target, replace(case, y=strange), known=known)


def test_names_beside_a_target_that_tells_no_order_are_sorted_and_must_be_as_many():
    bare = cm.wrap(lambda x: np.tile([0.4, 0.6], (len(x), 1)), output="scores", classes=2, version="1")
    _, case, _ = world(WORDS, fit_words)
    told, _ = numbered(case, Known(), bare)
    np.testing.assert_array_equal(told.y, PLACES[:120])
    three = replace(case, y=np.where(np.arange(120) == 7, "maybe", WORDS[:120]))
    with pytest.raises(BadInput, match=r"3 names, maybe, no, yes, and the target has 2 classes.*classes=\["):
        numbered(three, Known(), bare)


def test_numbers_stay_as_they_are():
    target, case, known = world(PLACES, fit_places)
    told, same = numbered(case, known, target)
    assert told is case and same is known
    assert not named(PLACES) and not named(np.array([1, "a"], object)) and indices(PLACES, ("a",)) is PLACES


def test_a_model_that_lacks_a_class_answers_in_the_order_of_all():
    few = FRAME[:60][WORDS[:60] == "no"].assign(age=30), np.array(["no"] * int((WORDS[:60] == "no").sum()))
    made = cm.wrap(pipeline(FRAME[:60], WORDS[:60], 0))
    three = Ordered(made, ("no", "yes"), ("yes", "maybe", "no"))
    shown, plain = three.respond(few[0]), made.respond(few[0])
    np.testing.assert_array_equal(shown.scores[:, [2, 0]], plain.scores)
    assert not shown.scores[:, 1].any() and shown.logits is None and three.classes == 3 and three.name == made.name
    np.testing.assert_array_equal(shown.label, np.array([2, 0])[plain.label])
