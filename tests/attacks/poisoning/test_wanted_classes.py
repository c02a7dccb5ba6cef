"""The classes an aim wants: by value, by name, or by a name's place."""

import numpy as np
import pytest

from casemate.attacks.poisoning._nets import _seats
from casemate.core.errors import BadInput

NAMES, NUMBERS = np.array(["no", "yes"]), np.array([3, 7])


@pytest.mark.parametrize(
    ("classes", "to"),
    [(NAMES, ["yes", "no"]), (NAMES.astype(object), ["yes", "no"]), (NAMES, [1, 0]), (NUMBERS, [7, 3])],
)
def test_wanted_classes_are_found(classes, to):
    assert _seats(classes, np.array(to), "this").tolist() == [1, 0]


@pytest.mark.parametrize(("classes", "to"), [(NAMES, ["maybe"]), (NAMES, [2]), (NAMES, [-1]), (NUMBERS, [1]), (NUMBERS, [9])])
def test_wanted_classes_that_do_not_exist_are_refused(classes, to):
    with pytest.raises(BadInput, match="the aim wants"):
        _seats(classes, np.array(to), "this")
