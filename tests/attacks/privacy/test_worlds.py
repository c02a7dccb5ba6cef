"""The worlds that leak are what they say they are."""

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.testing import worlds


def test_purchases_turn_over_the_stated_share_of_bits():
    x, y = worlds.purchases(4000, flip=0.3, seed=1)
    assert x.shape == (4000, 100)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert set(np.unique(y)) == set(range(20))
    rows = np.stack([x[y == c].mean(0) > 0.5 for c in range(20)])  # with so many of each class the majority is its row
    assert abs((x != rows[y]).mean() - 0.3) < 0.005
    assert (worlds.purchases(10, seed=1)[0] == worlds.purchases(10, seed=1)[0]).all()
    with pytest.raises(BadInput, match="a share of bits from 0 to 1"):
        worlds.purchases(10, flip=1.5)


def test_digits_replace_the_stated_share_of_labels_by_others():
    x, clean = worlds.digits()
    same, noisy = worlds.digits(noise=0.1)
    assert (x == same).all()
    assert 0 <= x.min() < x.max() <= 1
    assert abs((clean != noisy).mean() - 0.1) < 3 * (0.09 / 1797) ** 0.5


def test_a_world_trains_on_its_members_alone(baskets):
    truth = baskets.case.truth
    assert truth.sum() == 150
    assert (baskets.recipe.x == baskets.case.x[truth]).all()
    right = np.asarray(baskets.target.respond(baskets.case.x).label) == baskets.case.y
    assert right[truth].mean() == 1.0
    assert right[~truth].mean() < 0.95
    again = baskets.recipe.fit(baskets.recipe.x, baskets.recipe.y, 1)
    assert again.fingerprint() == baskets.target.fingerprint()
