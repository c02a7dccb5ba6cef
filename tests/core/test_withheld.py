"""What is withheld stays so in every copy, and copying comes to an end."""

import copy
import pickle
from dataclasses import asdict

import numpy as np
import pytest

from casemate.core.errors import NotGranted
from casemate.core.target import Recipe
from casemate.core.withheld import Withheld


def made():
    return Withheld(np.arange(10.0)[:, None], np.array([2, 5]), "not yours")


def through_asdict(held):
    return asdict(Recipe(fit=len, x=held, y=held))["x"]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda held: pickle.loads(pickle.dumps(held)), through_asdict])
def test_a_copy_of_withheld_rows_ends_and_holds_no_more(way):
    again = way(made())
    assert len(again) == 10 and again[[5, 2]].tolist() == [[5.0], [2.0]]
    for wish in (lambda: again[[0]], lambda: again.mean, lambda: list(again), lambda: np.asarray(again)):
        with pytest.raises(NotGranted, match="not yours"):
            wish()


def test_an_empty_one_has_no_parts_and_does_not_recurse():
    empty = object.__new__(Withheld)
    for name in Withheld.__slots__:
        assert not hasattr(empty, name)
