"""A small world that leaks, made once."""

import pytest

from casemate.testing import worlds
from casemate.trainers import MLP


@pytest.fixture(scope="session")
def baskets():
    """300 purchases of 6 classes, half of them learned by heart."""
    x, y = worlds.purchases(300, classes=6, bits=40, seed=3)
    return worlds.leaky(x, y, learner=MLP(hidden=(32,), epochs=40, optimiser="adam", rate=0.01), seed=1)
