"""A recipe whose training never ends ends the run with one message: which training, how long, what to do."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.attacks.privacy.lira import LiRA
from casemate.core.adversary import Budget, researcher
from casemate.core.case import Holdout, Infer, Poison
from casemate.core.errors import TargetFailed
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.runs import cells, sets, watched
from casemate.runs.assess import assess
from casemate.runs.sets import set_part
from casemate.runs.watched import PATIENCE, allowed
from casemate.testing._set_rigs import cloud, fit_centroids
from casemate.trainers.limit import TRAINING

X, Y = cloud(60, 1)
TARGET = fit_centroids(X, Y, 0)
CASE = Infer(x=X, y=Y, truth=np.arange(60) < 30)
SAID = r"training by the recipe \(sleeps, 60 rows, seed \d+\) was cut: it was not done after 0.2 s; make it shorter, or give it more"


def sleeps(x, y, seed):
    time.sleep(60)


@pytest.mark.parametrize("kind", ["shadow", "surrogate", "judge"])
def test_a_recipe_that_hangs_is_cut_regression(kind):
    began = time.monotonic()
    slow, quick = Recipe(sleeps, X, Y, "1"), Recipe(fit_centroids, X, Y, "1")
    poison = Poison(recipe=slow if kind == "judge" else quick, seeds=(0,), truth=Holdout(x=X, y=Y))
    attack, case = (LiRA(shadows=4), CASE) if kind == "shadow" else (LabelFlip(), poison)
    said = r"training 1 of 4 was cut: it was not done after 0.2 s; make it" if kind == "shadow" else SAID
    known = Known(recipe=None if kind == "judge" else slow)
    with pytest.raises(TargetFailed, match=said):
        set_part(attack, case, TARGET, researcher(), (), known, 0, patience=0.1, training=0.2)
    assert time.monotonic() - began < 20


def test_the_seconds_of_the_budget_are_the_limit_where_nobody_says_more(monkeypatch):
    seen = []
    monkeypatch.setattr(sets, "watched_recipe", lambda recipe, patience, limit: seen.append(limit) or recipe)
    case, known = CASE, Known(recipe=Recipe(fit_centroids, X, Y, "1"))
    for seconds in (None, 5.0, 7200.0):
        hands = replace(researcher(), budget=Budget(seconds=seconds))
        set_part(LiRA(shadows=4), case, TARGET, hands, (), known, 0)
    set_part(LiRA(shadows=4), case, TARGET, researcher(), (), known, 0, training=900.0)
    assert seen == [TRAINING, PATIENCE, 7200.0, 900.0]


def test_a_training_gets_at_least_the_time_of_a_call():
    assert (allowed(None), allowed(1.0), allowed(1000.0), allowed(1.0, None)) == (TRAINING, PATIENCE, 1000.0, 1.0)


def test_the_minutes_of_a_run_limit_its_trainings(toy, monkeypatch):
    seen = []

    def execute(bench, cell, progress=None, training=None):
        seen.append(training)
        return cells.Part(facts={"error": "not tried"})

    monkeypatch.setattr("casemate.runs.engine.execute", execute)
    assess(toy(), budget="90")
    assert seen and set(seen) == {5400.0}
    seen.clear()
    assess(toy(), budget="quick")
    assert seen and set(seen) == {None}


def test_an_answer_inside_a_training_has_its_own_limit():
    def answers(x):
        time.sleep(60)

    def fit(x, y, seed):
        return watched.Watched(cm.wrap(answers, classes=2), 0.1).respond(x)

    with pytest.raises(TargetFailed, match="hangs: no answer within"):
        watched.watched_recipe(Recipe(fit, X, Y), training=30.0).fit(X, Y, 0)
