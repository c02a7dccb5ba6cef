"""Parts: the same after a trip to the store, with no pickle on the way."""

from dataclasses import replace

import numpy as np
import pytest

from casemate.core.errors import RunError
from casemate.runs.part import Part, merge_rows, merge_spent

PART = Part(
    rows={"row": np.arange(3), "broken": np.array([True, False, True]), "distance": np.array([0.1, np.inf, np.nan]),
          "truth": np.array(["cat", "dog", "cat"], object)},
    spent={"queries": 7}, facts={"stopped": "", "nan": float("nan")},
    samples={"before": [b"\x00a", b""], "after": np.ones((2, 2), np.float32), "words": ["a", "bc"]}, seconds=1.5, claims=object(),
)  # fmt: skip


def test_a_part_comes_back_as_it_was():
    again = Part.from_bytes(PART.to_bytes())
    assert again.digest() == PART.digest() and again.claims is None and again.seconds == 1.5
    assert again.samples["before"] == [b"\x00a", b""] and again.rows["truth"].tolist() == ["cat", "dog", "cat"]
    assert again.rows["truth"].dtype.kind == "U"
    np.testing.assert_array_equal(again.rows["distance"], PART.rows["distance"])


def test_the_digest_ignores_time_and_claims_and_nothing_else():
    assert replace(PART, seconds=0.0, claims=None).digest() == PART.digest()
    for other in (replace(PART, spent={"queries": 8}), replace(PART, facts={}), replace(PART, rows={**PART.rows, "row": np.arange(1, 4)}),
                  replace(PART, samples={**PART.samples, "before": [b"\x00", b"a"]})):  # fmt: skip
        assert other.digest() != PART.digest()


def test_objects_are_refused_and_never_pickled_regression():
    with pytest.raises(TypeError, match="pickling"):
        replace(PART, rows={"row": np.array([object()])}).to_bytes()
    assert b"pickle" not in PART.to_bytes() and b"\x80\x04" not in PART.to_bytes()[:8]


def test_bytes_with_a_pickle_in_them_are_not_loaded(tmp_path):
    import io

    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "canary"), "w"))

    buffer = io.BytesIO()
    np.savez(buffer, head=np.array([Canary()], object))
    (tmp_path / "canary").unlink(missing_ok=True)
    with pytest.raises(RunError, match="cannot be read"):
        Part.from_bytes(buffer.getvalue())
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("data", [b"", b"nonsense", PART.to_bytes()[:-40]], ids=["empty", "nonsense", "cut"])
def test_a_damaged_cell_is_one_clear_error_regression(data):
    with pytest.raises(RunError, match="cannot be read"):
        Part.from_bytes(data)


def test_merging_is_in_row_order_and_adds_up():
    first = Part(rows={"row": np.array([3, 1]), "v": np.array([30, 10])}, spent={"queries": 1})
    second = Part(rows={"row": np.array([2]), "v": np.array([20])}, spent={"queries": 2, "judge": 1})
    assert merge_rows([first, second])["v"].tolist() == [10, 20, 30] and merge_rows([]) == {}
    assert merge_spent([first, second]) == {"queries": 3, "judge": 1}
