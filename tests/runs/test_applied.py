"""Which training controls fit a recipe: each says itself what it misses."""

from dataclasses import replace

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.core.target import Recipe
from casemate.runs.applied import apply, make, why_not
from casemate.runs.assess import prepare
from casemate.trainers import MLP, Softmax


def fit(x, y, seed):
    raise AssertionError("nothing is trained to find out what fits")


def hooked(x, y, seed, perturb=None, private=None):
    raise AssertionError("nothing is trained to find out what fits")


X, Y = np.zeros((800, 4)), np.arange(800) % 2


@pytest.mark.parametrize(("id", "recipe", "why"), [
    ("training.adversarial", Recipe(fit, X, Y), "fit takes no keyword perturb"),
    ("training.adversarial", Recipe(hooked, X, Y), ""),
    ("training.dp_sgd", Recipe(fit, X, Y), "no stack of kind MLP, and its fit takes no keyword private"),
    ("training.dp_sgd", Recipe(fit, X, Y, stack=Softmax()), "no stack of kind MLP"),
    ("training.dp_sgd", Recipe(fit, X, Y, stack=MLP()), ""),
    ("training.dp_sgd", Recipe(hooked, X, Y), ""),
    ("training.output_perturbation", Recipe(fit, X, Y, stack=MLP()), "no stack of kind Softmax"),
    ("training.output_perturbation", Recipe(fit, X, Y, stack=Softmax()), ""),
    ("training.randomised_response", Recipe(fit, X, Y / 3.0), "no classes counted from 0"),
    ("training.randomised_response", Recipe(fit, X, Y), ""),
    ("training.pate", Recipe(fit, X[:100], Y[:100]), "25 of 100 rows are set aside, and 100 answers need as many"),
    ("training.pate", Recipe(fit, X, Y), ""),
])  # fmt: skip
def test_each_training_control_says_what_the_recipe_misses(toy, id, recipe, why):
    bench = replace(prepare(toy(), budget="quick").benches["reader"], recipe=recipe)
    found = why_not(id, bench, True)
    assert found == "" if not why else why in found
    assert why_not(id, bench, False) == (found or "it trains a model: give --train")
    if why:
        with pytest.raises(BadInput, match=id):
            apply(bench, make(id))


def test_without_a_recipe_that_is_the_reason(toy):
    assert why_not("training.dp_sgd", prepare(toy(), budget="quick").benches["reader"], True) == "no recipe is bound"
