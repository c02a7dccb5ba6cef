"""`casemate account`: which training rows made a decision of a described system."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from casemate.app.account import account
from casemate.core.errors import TargetFailed, UnknownName, UsageError

LOANS = Path(__file__).resolve().parents[2] / "examples" / "loans" / "simple.yaml"


def ran(*arguments):
    result = CliRunner().invoke(account, [str(LOANS), *arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def test_the_rows_of_a_decision_are_named_without_what_stands_in_them():
    text = ran("--row", "3", "--top", "2")
    assert text.count("training row") == 2 and "for the decision" in text
    assert "housing" not in text and "housing=" in ran("--row", "3", "--top", "1", "--show-personal")
    told = json.loads(ran("--row", "3", "--top", "2", "--json"))
    assert [f"training row {row:>6}" in text for row in told["rows"]] == [True, True] and told["exact"] is False


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (("--row", "300"), UsageError, "give 0 to 299"),
    (("--row", "0", "--component", "nothing"), UnknownName, "nothing"),
])  # fmt: skip
def test_what_is_not_there_is_said(arguments, error, words):
    with pytest.raises(error, match=words):
        ran(*arguments)


def test_a_description_without_a_recipe_is_told_what_it_lacks():
    result = CliRunner().invoke(
        account, [str(LOANS.parents[1] / "comments" / "system.yaml"), "--row", "0"], standalone_mode=False
    )
    assert isinstance(result.exception, UsageError) and "binds no recipe" in str(result.exception)


BREAKS = """
import numpy as np
from sklearn.linear_model import LogisticRegression

import casemate as cm

X = np.random.default_rng(0).normal(size=(12, 3))
Y = (X[:, 0] > 0).astype(int)


def target():
    return cm.wrap(LogisticRegression().fit(X, Y))


def data():
    return cm.Holdout(x=X[:4], y=Y[:4])


def recipe():
    def fit(x, y, seed):
        if len(x) < 12 and x[0, 0] != X[0, 0]:
            raise SystemExit("no training without the first row")
        return LogisticRegression().fit(x, y)  # not wrapped: a run takes it so, too

    return cm.Recipe(fit, X, Y)
"""

DESCRIBED = """
casemate: 1
system:
  name: rule
  task: binary
  target: [{component: api, factory: bind_refit:target, data: bind_refit:data, recipe: bind_refit:recipe}]
zones: [{id: inside, trust: prod}]
components: [{id: api, kind: server, zone: inside}]
"""


def test_refit_watches_the_recipe_as_a_run_does(tmp_path):
    (tmp_path / "bind_refit.py").write_text(BREAKS, encoding="utf-8")
    (tmp_path / "system.yaml").write_text(DESCRIBED, encoding="utf-8")
    result = CliRunner().invoke(account, [str(tmp_path / "system.yaml"), "--row", "0", "--refit"], standalone_mode=False)
    assert isinstance(result.exception, TargetFailed)
    assert "without training row 0" in str(result.exception) and "SystemExit: no training without" in str(result.exception)
