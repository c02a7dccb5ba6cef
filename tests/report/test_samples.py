"""Inputs before and after, and the PNG encoder underneath."""

from __future__ import annotations

import io

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.report import png
from casemate.report.samples import samples

from . import cases


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (28, 28), (7, 4, 3)])
def test_what_is_encoded_is_decoded(shape: tuple[int, ...]) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = np.asarray(image.open(io.BytesIO(png.encode(pixels))))
    np.testing.assert_array_equal(found, pixels)
    assert png.encode(pixels) == png.encode(pixels.copy())


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 2)), np.zeros((0, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8)]
)
def test_what_is_no_picture_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(BadInput, match="a picture is"):
        png.encode(bad)


def test_pictures_grow_by_whole_factors_and_shrink_by_whole_steps() -> None:
    small = np.arange(4, dtype=np.uint8).reshape(2, 2)
    grown = png.resize(small)
    assert grown.shape == (112, 112)
    np.testing.assert_array_equal(grown[::56, ::56], small)
    assert max(png.resize(np.zeros((500, 300), np.uint8)).shape) <= 112


@pytest.mark.parametrize("layout", ["n1hw", "nhw", "n3hw", "nhw3", "uint8"])
def test_images_of_every_layout(layout: str) -> None:
    x = np.random.default_rng(0).uniform(
        size={"n1hw": (2, 1, 8, 8), "nhw": (2, 8, 8), "n3hw": (2, 3, 8, 8)}.get(layout, (2, 8, 8, 3))
    )
    x = (255 * x).astype(np.uint8) if layout == "uint8" else x
    found = samples(
        {"before": x, "after": np.clip(x, 0, x.max() * 0.9), "row": [3, 4], "truth": [1, 2], "label_after": [2, -1]}, 4
    )
    assert [s.kind for s in found] == ["image", "image"]
    assert [s.decision for s in found] == ["1 → 2", "2 → rejected"]
    assert all(len(s.images) == 3 for s in found)


def test_claims_of_a_real_run_are_shown_as_pictures() -> None:
    found = samples(cases.pictures(cases.real()), 3)
    assert len(found) == 3
    assert "difference x" in found[0].note


def test_broken_rows_are_shown_and_untouched_ones_only_where_nothing_broke() -> None:
    x = np.random.default_rng(0).uniform(size=(5, 8, 8))
    held = {"before": x, "after": 1 - x, "row": np.arange(5), "broken": np.array([False, True, False, True, False])}
    assert [s.row for s in samples(held, 4)] == ["1", "3"]
    assert [(s.row, s.broken) for s in samples({**held, "broken": np.zeros(5, bool)}, 4)] == [("0", False), ("1", False)]


def test_not_a_number_is_drawn_not_raised() -> None:
    x = np.full((1, 8, 8), np.nan)
    assert samples({"before": x, "after": x}, 1)[0].kind == "image"


def test_bytes_show_the_first_change_in_hex() -> None:
    before = bytes(range(256)) * 40
    after = before[:5000] + b"<script>\x1b" + before[5000:]
    one = samples({"before": [before], "after": [after], "row": [0]}, 1)[0]
    assert one.kind == "bytes"
    assert "first change at offset 5,000" in one.note
    assert "<script>" in "".join(line.split("  ")[-1] for line in one.after)
    assert "\x1b" not in "".join(one.after)
    assert len(one.after) == 11


def test_text_shows_where_it_differs() -> None:
    one = samples({"before": ["a" * 500 + "x" + "b" * 500], "after": ["a" * 500 + "yy" + "b" * 500]}, 1)[0]
    assert one.kind == "text"
    assert "first change at 500" in one.note
    assert len(one.before[0]) < 200


def test_tables_show_changed_cells_only() -> None:
    pandas = pytest.importorskip("pandas")
    before = pandas.DataFrame({"age": [30, 40], "job": ["clerk", "cook"], "gap": [np.nan, 1.0]})
    after = before.assign(age=[31, 40])
    found = samples({"before": before, "after": after, "row": [0, 1]}, 2)
    assert found[0].cells == (("age", "30", "31"),)
    assert "1 of 3 columns changed" in found[0].note
    assert found[1].cells == ()
    plain = samples({"before": np.zeros((1, 30)), "after": np.ones((1, 30)), "columns": [f"c{i}" for i in range(30)]}, 1)[0]
    assert plain.cells[0] == ("c0", "0", "1")
    assert "18 not shown" in plain.note


@pytest.mark.parametrize(
    "held",
    [{}, {"before": [object()], "after": [object()]}, {"before": np.zeros((1, 2, 2, 2, 2)), "after": np.zeros((1, 2, 2, 2, 2))}],
)
def test_what_nobody_can_show_gives_nothing(held: dict) -> None:
    assert samples(held, 3) == ()
