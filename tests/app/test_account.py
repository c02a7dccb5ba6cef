"""`casemate account`: which training rows made a decision of a described system."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from casemate.app.account import account
from casemate.core.errors import UnknownName, UsageError

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
