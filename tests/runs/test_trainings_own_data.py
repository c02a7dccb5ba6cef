"""A recipe may do to the arrays it is given what it likes: the owner's stay as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import casemate as cm
from casemate.core.case import Holdout, Poison
from casemate.core.target import Recipe
from casemate.runs.watched import watched_recipe
from casemate.testing._set_rigs import cloud, fit_centroids

X, Y = cloud(80, 1)


def greedy(x, y, seed):
    x -= 0.5  # centred, as is often done
    made = fit_centroids(x, y, seed)
    y[:] = 0
    return made


def gentle(x, y, seed):
    return fit_centroids(x - 0.5, y, seed)


def test_a_training_that_changes_its_arrays_in_place_changes_no_result_regression():
    """The user's own data moved by half a unit at every training, and the error with it."""
    found = []
    for fit in (greedy, gentle):
        x, y = X.copy(), Y.copy()
        case = Poison(recipe=Recipe(fit, x, y, "1"), seeds=(0, 1), fractions=(0.1, 0.3), truth=Holdout(x=X + 0.5, y=Y))
        found.append(cm.run("poisoning.label_flip", None, case, seed=0))
        assert (x == X).all() and (y == Y).all()
    assert found[0].rate == found[1].rate and found[0].interval == found[1].interval


@pytest.mark.parametrize("make", [np.array, torch.tensor, pd.DataFrame, np.ndarray.tolist], ids=["array", "tensor", "frame", "list"])
def test_whatever_kind_the_data_is_a_training_gets_its_own_regression(make):
    x, seen = make(X), []

    def fit(given, y, seed):
        seen.append(given)
        if isinstance(given, list):
            given.clear()
        else:
            given[:] = 0
        return fit_centroids(X, Y, seed)

    watched_recipe(Recipe(fit, x, Y, "1")).fit(x, Y, 0)
    assert type(seen[0]) is type(x) and np.asarray(x).shape == X.shape and (np.asarray(x) == X).all()
