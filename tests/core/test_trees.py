"""An ensemble decides as it is told, to the last bit of a threshold."""

from __future__ import annotations

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.core.trees import Ensemble, largest_left, pulled_back


def stump(cut: float = 0.5, **rest: object) -> Ensemble:
    given = {
        "feature": np.array([1, -1, -1]), "cut": np.array([cut, np.inf, np.inf]), "left": np.array([1, -1, -1]),
        "right": np.array([2, -1, -1]), "missing_left": np.array([True, False, False]),
        "value": np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), "root": np.array([0]), "width": 2, "base": np.zeros(2), "classes": 2,
    }  # fmt: skip
    return Ensemble(**{**given, **rest})  # type: ignore[arg-type]


def test_a_split_sends_the_cut_left_and_the_next_number_right_and_nan_where_it_says() -> None:
    x = np.array([[9, 0.5], [9, np.nextafter(0.5, 1)], [9, np.nan]])
    assert stump().decide(x).tolist() == [0, 1, 0]
    assert stump().reordered([1, 0]).decide(x).tolist() == [1, 0, 1]


def test_equal_outputs_go_to_the_first_class_or_up_and_reordering_keeps_which() -> None:
    same = np.zeros((3, 2))
    x = np.zeros((1, 2))
    assert stump(value=same).decide(x)[0] == 0
    assert stump(value=same, ties_up=True).decide(x)[0] == 1
    assert stump(value=same).reordered([1, 0]).decide(x)[0] == 1  # class 0 of before is class 1 now


@pytest.mark.parametrize("strict", [False, True])
def test_the_largest_number_that_goes_left_is_the_library_s_own_in_both_precisions(strict: bool) -> None:
    rng = np.random.default_rng(0)
    wide = np.concatenate([rng.normal(size=500), rng.normal(size=500).astype(np.float32), [0.0, -0.0, 1.0, 2.0**-140, -3.5]])
    for single in (False, True):
        cut = largest_left(wide, strict=strict, single=single)

        def left(x: np.ndarray, single: bool = single) -> np.ndarray:
            seen = x.astype(np.float32).astype(np.float64) if single else x
            return seen < wide if strict else seen <= wide

        assert left(cut).all()
        assert not left(np.nextafter(cut, np.inf)).any()


def test_cuts_are_pulled_back_through_rounding() -> None:
    rng = np.random.default_rng(1)
    cut, feature = rng.normal(size=60), rng.integers(0, 3, 60)
    mean, scale = np.array([0.1, -7.3, 1e4]), np.array([0.3, 1e-3, 17.0])
    found = pulled_back(cut, feature, 3, lambda x: (x - mean) / scale)

    def forward(x: np.ndarray) -> np.ndarray:
        return (x - mean[feature]) / scale[feature]

    assert (forward(found) <= cut).all()
    assert (forward(np.nextafter(found, np.inf)) > cut).all()


def test_a_cut_that_nothing_or_everything_passes_stays_so() -> None:
    squeezed = pulled_back(np.array([-2.0, 2.0]), np.array([0, 0]), 1, lambda x: np.clip(x, 0, 1))
    assert squeezed.tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"width": 1}, "width"), ({"value": np.zeros((3, 3))}, "outputs"), ({"left": np.array([0, -1, -1])}, "after its parent"),
     ({"cut": np.nan}, "NaN")],
)  # fmt: skip
def test_what_is_no_tree_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        stump(**wrong)
    with pytest.raises(BadInput, match=r"\(n, 2\)"):
        stump().decide(np.zeros((1, 3)))
