"""A described pipeline that was trained on words: its data and its recipe come with words, and every family counts right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.app.account import account
from casemate.core.case import Holdout, Poison
from casemate.core.errors import BadInput, NotGranted, UsageError
from casemate.core.goal import Becomes, Routed, Vanish
from casemate.core.target import Recipe
from casemate.runs.assess import assess, clean_numbers
from casemate.runs.bench import open_bench
from casemate.runs.goals import goal_of
from casemate.runs.named import Ordered, indexed, recipe_of, told_names
from casemate.threats.load import load

BIND = '''
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
import casemate as cm

RNG = np.random.default_rng(3)
N = 320
X = pd.DataFrame({"age": RNG.normal(45, 15, N), "pay": RNG.normal(size=N), "job": RNG.choice(["cook", "clerk", "driver"], N)})
SCORE = (X["age"] - 45) / 15 + X["pay"] + 1.5 * (X["job"] == "cook") + RNG.normal(size=N)
PLACE = np.where(SCORE > 1, 2, np.where(SCORE > -0.5, 0, 1))
Y = pd.Series(np.array(["ask", "pay", "stop"])[PLACE], name="label").astype("DTYPE") if WORDS else pd.Series(PLACE)

def fit(x, y, seed):
    assert set(np.asarray(y).tolist()) <= ({"pay", "ask", "stop"} if WORDS else {0, 1, 2}), "the owner's own labels"
    assert not isinstance(y, pd.Series) or y.index.equals(x.index)
    read = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["job"]), (StandardScaler(), ["age", "pay"]))
    return cm.wrap(make_pipeline(read, LogisticRegression()).fit(x, y), name="api")

def target():
    return fit(X[:200], Y[:200], 0)

def holdout():
    return cm.Holdout(x=X[200:], y=DATA_Y)

def recipe():
    return cm.Recipe(fit=fit, x=X[:200], y=Y[:200], version="1")

def form():
    return cm.Table(columns={"pay": cm.Column(kind="real", low=-3, high=3)})

def around(model):
    def decide(x):
        try:
            return np.asarray(model.respond(x).label)
        except Exception:
            return np.full(len(x), 1)  # of ask, pay, stop: it lets through
    return decide
'''
YAML = """
casemate: 1
system:
  name: words
  task: multiclass
  modality: tabular
  decision: {automated: yes, reversible: yes, human_review: none}
  target:
    - component: api
      factory: bind:target
      data: bind:holdout
      recipe: bind:recipe
      fallback: bind:around
      goal: GOAL
      within: {kind: table, factory: bind:form}
      sensitive: [job]
      attacks: {rows: {quick: 12}, members: {quick: 40}, asks: {quick: 60}, flood: {quick: 20}, seeds: {quick: 1}}
zones: [{id: outside, trust: public}, {id: inside, trust: prod}]
principals: [{id: partner, kind: partner, zone: outside}]
assets:
  - {id: verdict, kind: decision, value: {I: 4}}
  - {id: model, kind: model, value: {C: 2, I: 3}}
  - {id: people, kind: training_data, value: {C: 3, I: 3, P: 4}, personal: yes, public: no, population: 1000}
  - {id: service, kind: service, value: {A: 1}}
components:
  - id: api
    kind: server
    zone: inside
    holds: [verdict, model, service, people]
    model: {output: score}
    endpoint: {auth: key, rate_limit: none, admin_exposed: no}
    decision: {on_error: allow}
  - {id: training, kind: trainer, zone: inside, holds: [people], training: {sources: [outcomes], review: none, dp: none}}
  - {id: outcomes, kind: feedback, zone: inside, holds: [people]}
flows:
  - {from: partner, to: api, data: [verdict], channel: https}
  - {from: api, to: outcomes, data: [verdict], channel: grpc}
  - {from: outcomes, to: training, data: [people], channel: file}
  - {from: training, to: api, channel: file}
access:
  - {principal: partner, on: api, can: [query, see_label, see_score], budget: {accounts: 1, days: 1}}
  - {principal: partner, on: outcomes, can: [inject_data, write_labels], budget: {samples: 20}}
"""


def described(tmp_path, goal="{kind: wrong}", words=True, dtype="object", data_y="Y[200:]"):
    code = BIND.replace("DTYPE", dtype).replace("DATA_Y", data_y).replace("WORDS", str(words))
    (tmp_path / "bind.py").write_text(code)
    path = tmp_path / "system.yaml"
    path.write_text(YAML.replace("GOAL", goal))
    return path


def opened(path):
    return open_bench(load(path), "api")


@pytest.mark.parametrize(("dtype", "data_y"), [
    ("object", "Y[200:]"), ("category", "Y[200:]"), ("object", "Y[200:].tolist()"), ("object", "PLACE[200:]"),
    ("object", "np.array(Y[200:], dtype=str)"),
])  # fmt: skip
def test_the_accuracy_of_a_pipeline_trained_on_words_is_right_regression(tmp_path, dtype, data_y):
    bench = opened(described(tmp_path, dtype=dtype, data_y=data_y))
    assert bench.data.y.dtype.kind == bench.recipe.y.dtype.kind == "i"
    right = bench.target.model.estimator.predict(bench.data.x) == np.asarray(["ask", "pay", "stop"])[bench.data.y]
    assert clean_numbers(bench)["accuracy"] == pytest.approx(right.mean()) and right.mean() > 0.5


def test_every_family_counts_the_same_with_words_as_with_numbers_regression(tmp_path):
    """They said that nothing was right at the start, or ended in a TypeError between words and numbers."""
    seen = []
    for words, wanted in ((True, "pay"), (False, 1)):
        found = assess(described(tmp_path, f"{{kind: becomes, target: {wanted}}}", words), budget="quick")
        seen.append({
            (finding.rule, one.attack): (one.verdict, one.rate, one.n, one.reasons, [check.detail for check in one.health])
            for finding in found.findings for one in finding.evidence
        })  # fmt: skip
    assert seen[0] == seen[1]
    families = {attack.split(".")[0] for _, attack in seen[0]}
    assert {"suite", "poisoning", "privacy", "extraction", "availability"} <= families
    assert seen[0]["AV-04", "availability.fail_open"][0] == "broken", "the fallback lets through whom the goal wants let through"


@pytest.mark.parametrize(("data_y", "words"), [
    ("np.where(np.arange(120) < 2, 'never', Y[200:])", "target.data of 'api': the label 'never' is no class of the target; it has ask, pay, stop"),
])  # fmt: skip
def test_a_word_that_is_no_class_is_named(tmp_path, data_y, words):
    with pytest.raises(BadInput, match=words):
        opened(described(tmp_path, data_y=data_y))


def test_a_goal_names_a_class_by_its_word_regression(tmp_path):
    """A word is equal to no decision, so every row stood and a fallback that lets everybody in resisted."""
    target = opened(described(tmp_path)).target
    assert goal_of({"kind": "becomes", "target": "stop"}, target) == Becomes(2)
    assert goal_of({"kind": "becomes", "target": 2}, target) == Becomes(2)
    assert goal_of({"kind": "routed", "to": ["stop", "ask"]}, target) == Routed((2, 0))
    assert goal_of({"kind": "vanish", "nothing": "pay"}, target) == Vanish(1)


@pytest.mark.parametrize(("goal", "message"), [
    ("{kind: becomes, target: never}", "target.goal.target='never' is no class of the target; it has ask, pay, stop"),
    ("{kind: becomes, target: 3}", "target.goal.target=3 is no class of the target; it answers 0 to 2"),
    ("{kind: becomes, target: 1.5}", "give a whole number"), ("{kind: routed, to: 1}", "is no tuple"),
])  # fmt: skip
def test_a_goal_that_no_decision_meets_is_refused(tmp_path, goal, message):
    with pytest.raises(UsageError, match=message):
        opened(described(tmp_path, goal))


def test_a_word_of_a_target_that_tells_no_names_is_refused():
    with pytest.raises(UsageError, match="it tells no names; give the number of the class, from 0"):
        goal_of({"kind": "becomes", "target": "pay"}, cm.wrap(lambda x: np.zeros((len(x), 2)), output="scores", classes=2))


X = np.random.default_rng(5).normal(size=(160, 2))
WORDS = np.where(X[:, 0] + 0.3 * X[:, 1] > 0, "grant", "decline")


def fit(x, y, seed):
    assert set(np.asarray(y).tolist()) <= {"grant", "decline"}
    return LogisticRegression().fit(x, y)


def test_32_the_deployed_model_and_the_recipes_are_compared_in_one_order_regression():
    """The description puts the classes in another order than the words are sorted in; the recipe's models know only the sorted."""
    target = cm.wrap(fit(X[:100], WORDS[:100], 0), positive="decline")
    names = told_names(target)
    assert names == ("grant", "decline")
    recipe, truth = recipe_of(Recipe(fit, X[:100], WORDS[:100], "1"), names), indexed(Holdout(x=X[100:], y=WORDS[100:]), names)
    assert isinstance(recipe.fit(recipe.x, recipe.y, 0), Ordered)
    found = cm.run("poisoning.label_flip", target, Poison(recipe=recipe, truth=truth, seeds=(0,), fractions=(0.3,)), seed=0)
    check = next(one for one in found.health if one.number == 32)
    assert check.ok and "100 %" in check.detail


def test_a_target_in_another_order_shows_no_slopes():
    model = Ordered(cm.wrap(fit(X, WORDS, 0)), ("decline", "grant"), ("grant", "decline"))
    assert isinstance(cm.wrap(model), Ordered) and not model.offers & cm.Need.GRADIENT
    assert (np.array(model.names)[model.respond(X).label] == model.inner.model.estimator.predict(X)).all()
    with pytest.raises(NotGranted, match="another order"):
        model.gradient(X, np.zeros(len(X), int), None)


def test_the_owners_function_gets_a_series_where_it_gave_one():
    kinds = []

    def train(x, y, seed):
        kinds.append((type(y), y.name, y.index.equals(x.index)))
        return fit(x, y, seed)

    frame = pd.DataFrame(X, columns=["a", "b"], index=np.arange(160) + 7)
    recipe = recipe_of(Recipe(train, frame, pd.Series(WORDS, name="said", index=frame.index), "1"), ("decline", "grant"))
    recipe.fit(recipe.x, recipe.y, 0)
    assert kinds == [(pd.Series, "said", True)]


def test_what_is_told_of_a_decision_is_told_in_words(tmp_path):
    path = described(tmp_path)
    result = CliRunner().invoke(account, [str(path), "--row", "0", "--top", "3"], standalone_mode=False)
    assert result.exception is None and "is decided stop" in result.output and "label stop" in result.output
