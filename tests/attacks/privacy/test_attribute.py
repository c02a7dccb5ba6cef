"""What a model tells of a hidden column, beyond what imputation tells: nothing, or a share that can be worked out."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import casemate as cm
from casemate.attacks.privacy.attribute import AttributeInference
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Attribute, Holdout
from casemate.core.disclosure import filled
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.judges.attribute import gain

LABELS = Adversary(name="labels", may=Need.LABEL)
SCORES = Adversary(name="scores", may=Need.LABEL | Need.SCORE)
LOANS = Path(__file__).parents[3] / "examples" / "loans"


def world(n, seed, secret, classes=5):
    """Numbers, a column of 0 and 10 in the last place made by ``secret(x, coin)``, and labels by chance."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    bit = secret(x, rng.random(n))
    return np.column_stack([x, 10.0 * bit]), rng.integers(0, classes, n)


def case_of(members, others, population):
    x, y = (np.concatenate([members[i], others[i]]) for i in (0, 1))
    return Attribute(
        x=filled(x, 3, 0.0), y=y, column=3, values=(0.0, 10.0), truth=x[:, 3], member=np.arange(len(y)) < len(members[1]),
        population=Holdout(x=population[0], y=population[1]),
    )


def by_chance(x, coin):
    return coin < 0.5


def three_worlds(secret, n=300):
    return [world(n, seed, secret) for seed in (1, 2, 3)]


def test_a_model_that_remembers_tells_of_its_members_and_of_nobody_else():
    members, others, people = three_worlds(by_chance)
    model = KNeighborsClassifier(1).fit(*members)
    found = cm.run(AttributeInference(), model, case_of(members, others, people), adversary=LABELS)
    # Right under the true value always, under the other one by a chance of 1 in 5: a coin decides there.
    assert found.extra["accuracy"]["rate"] == pytest.approx(0.9, abs=0.04)
    assert found.verdict is Verdict.BROKEN and found.rate == pytest.approx(0.4, abs=0.07)
    assert found.extra["others"]["gain"][1] < 0 < found.extra["others"]["gain"][2]
    assert "members lose more" in found.reasons[1]
    assert found.spent["queries"] == 2 * 600
    assert {value: told["n"] for value, told in found.extra["recall"].items()} == {
        "0.0": int((members[0][:, 3] == 0).sum()), "10.0": int((members[0][:, 3] == 10).sum())
    }  # fmt: skip


def test_confidence_alone_finds_what_is_remembered_and_weights_learned_of_others_do_not():
    members, others, people = three_worlds(by_chance)
    model, case = KNeighborsClassifier(1).fit(*members), case_of(members, others, people)
    surest, learned = (cm.run(AttributeInference(how=how), model, case, adversary=SCORES) for how in ("csmia", "learned"))
    assert surest.broken and surest.rate > 0.3
    assert abs(surest.extra["others"]["gain"][0]) < 0.1
    assert -0.1 < learned.rate < surest.rate  # it may miss a leak, and never turns one round


@pytest.mark.parametrize("how", ["bayes", "csmia", "learned"])
def test_a_model_that_cannot_see_the_column_gives_nothing_away(how):
    members, others, people = three_worlds(lambda x, coin: coin < 1 / (1 + np.exp(-2 * x[:, 0])))
    blind = make_pipeline(FunctionTransformer(lambda x: x[:, :3]), KNeighborsClassifier(1)).fit(*members)
    found = cm.run(AttributeInference(how=how), blind, case_of(members, others, people), adversary=SCORES)
    assert not found.broken
    assert found.rate <= 0.02
    assert found.extra["imputation_accuracy"]["logistic"]["rate"] > 0.7


@pytest.mark.parametrize("how", ["bayes", "csmia", "learned"])
def test_a_column_that_follows_from_the_others_is_no_leak(how):
    members, others, people = three_worlds(lambda x, coin: x[:, 0] > 0)
    model = KNeighborsClassifier(1).fit(*members)
    found = cm.run(AttributeInference(how=how), model, case_of(members, others, people), adversary=SCORES)
    assert not found.broken and found.rate < 0.02
    assert found.extra["imputation_accuracy"]["boosting"]["rate"] > 0.97


@pytest.mark.parametrize("how", ["bayes", "csmia", "learned"])
def test_a_label_that_goes_with_the_column_is_a_correlation_and_no_leak(how):
    """The label is the column nine times in ten: the model says so, and so does everybody's own data."""
    made = []
    for seed in (1, 2, 3):
        x, _ = world(400, seed, by_chance)
        flip = np.random.default_rng(seed + 50).random(400) < 0.1
        made.append((x, ((x[:, 3] > 0) ^ flip).astype(int)))
    model = LogisticRegression().fit(*made[0])
    found = cm.run(AttributeInference(how=how), model, case_of(*made), adversary=SCORES)
    assert found.extra["accuracy"]["rate"] == pytest.approx(0.9, abs=0.05)
    assert not found.broken and abs(found.rate) < 0.02


def test_a_budget_that_ends_leaves_what_imputation_says():
    members, others, people = three_worlds(lambda x, coin: x[:, 0] > 0)
    case, model = case_of(members, others, people), KNeighborsClassifier(1).fit(*members)
    found = cm.run(AttributeInference(), model, case, adversary=LABELS, budget=Budget(queries=601))
    assert found.spent["queries"] == 601 and found.extra["asked"] == 300
    assert found.extra["accuracy"]["rate"] > 0.9
    assert "budget" in found.extra["stopped"]


def test_without_a_population_the_surest_value_is_all_there_is():
    members, others, people = three_worlds(by_chance)
    case = replace(case_of(members, others, people), population=None)
    found = cm.run(AttributeInference(), KNeighborsClassifier(1).fit(*members), case, adversary=SCORES)
    assert found.extra["imputed_by"] == "nothing" and found.rate > 0.3
    with pytest.raises(BadInput, match="give population="):
        cm.run(AttributeInference(how="learned"), KNeighborsClassifier(1).fit(*members), case, adversary=SCORES)


@pytest.mark.parametrize("people", [0, 10, 49, 400])
def test_a_correlation_is_no_leak_where_the_population_is_too_small_to_show_it(people):
    made = []
    for seed in (1, 2, 3):
        x, _ = world(400, seed, by_chance)
        flip = np.random.default_rng(seed + 50).random(400) < 0.1
        made.append((x, ((x[:, 3] > 0) ^ flip).astype(int)))
    made[2] = tuple(part[:people] for part in made[2])
    case = replace(case_of(*made), **({} if people else {"population": None}))
    found = cm.run(AttributeInference(), LogisticRegression().fit(*made[0]), case, adversary=SCORES)
    check = next(check for check in found.health if check.number == 51)
    assert not found.broken and check.ok is (people == 400)
    if people < 400:
        assert found.verdict is Verdict.INCONCLUSIVE and f"{people} people with the column filled in" in str(found)
    if people <= 10:
        assert found.interval.low > 0, "it would have been called broken"


def test_only_people_with_a_value_that_counts_teach_imputation():
    from casemate.judges.attribute import _known

    pandas = pytest.importorskip("pandas")
    case = Attribute(x=pandas.DataFrame({"sex": ["a"], "age": [1]}), y=[0], column="sex", values=("a", "b"))
    assert _known(pandas.DataFrame({"sex": ["a", "b", None, "c"], "age": [1, 2, 3, 4]}), case) == 2
    assert _known(np.ones((7, 2)), Attribute(x=np.ones((1, 2)), y=[0], column=0, values=(0.0, 1.0))) == 7


def test_what_cannot_be_attacked_is_said():
    members, others, people = three_worlds(by_chance, 40)
    case, model = case_of(members, others, people), KNeighborsClassifier(1).fit(*members)
    wrong = {
        "not blank": replace(case, x=np.concatenate([members[0], others[0]])),
        "at least two": replace(case, values=(0.0,)),
        "the index of one of them": replace(case, column=9),
        "one label for each": replace(case, y=case.y[:5]),
        "judged by the truth": replace(case, truth=None),
    }
    for words, bad in wrong.items():
        with pytest.raises(BadInput, match=words):
            cm.run(AttributeInference(), model, bad, adversary=SCORES)
    with pytest.raises(BadInput, match="how="):
        AttributeInference(how="luck")
    with pytest.raises(BadInput, match="name the same"):
        cm.run(AttributeInference(column=1), model, case, adversary=SCORES)


def test_too_few_people_decide_nothing():
    members, others, people = three_worlds(by_chance, 12)
    found = cm.run(AttributeInference(), KNeighborsClassifier(1).fit(*members), case_of(members, others, people), adversary=LABELS)
    assert found.verdict is Verdict.INCONCLUSIVE or not found.broken
    assert any("20 are the fewest" in reason for reason in found.reasons)


def test_a_population_that_holds_the_candidates_is_refused_as_a_measurement():
    members, others, _ = three_worlds(by_chance, 100)
    found = cm.run(AttributeInference(), KNeighborsClassifier(1).fit(*members), case_of(members, others, members), adversary=LABELS)
    assert any(check.number == 48 and check.ok is False for check in found.health)


def test_gain_counts_the_same_people_twice():
    right, other = np.arange(100) < 80, np.arange(100) >= 30
    rate, interval = gain(right, other)
    assert rate == pytest.approx(0.1) and interval.low < 0 < interval.high
    same, none = gain(right, right)
    assert same == 0 and none.low < 0 < none.high  # nothing seen is not nothing there


@pytest.fixture(scope="module")
def loans():
    sys.path.insert(0, str(LOANS))
    try:
        yield __import__("loans")
    finally:
        sys.path.remove(str(LOANS))
        del sys.modules["loans"]


@pytest.mark.parametrize("column", ["personal_status_and_sex", "foreign_worker"])
def test_the_loans_pipeline_with_words_for_values(loans, column):
    x, fresh, y, other = loans.split(0)
    columns = list(x.columns)
    column = next((name for name in columns if name.startswith(column[:12])), columns[-1])
    values = tuple(sorted(set(x[column].astype(str))))
    records = __import__("pandas").concat([x.iloc[:60], fresh.iloc[:60]], ignore_index=True)
    case = Attribute(
        x=filled(records, column, values[0]), y=np.concatenate([y[:60], other[:60]]), column=column, values=values,
        truth=records[column].astype(str).to_numpy(), member=np.arange(120) < 60,
        population=Holdout(x=fresh.iloc[60:], y=other.to_numpy()[60:]),
    )
    for adversary in (LABELS, SCORES):
        found = cm.run(AttributeInference(), loans.fit_logistic(x, y, 0), case, adversary=adversary)
        assert not found.broken
        assert found.n == 60 and set(found.extra["recall"]) == set(values)
        assert found.spent["queries"] >= 120 * len(values)
