"""The data-flow picture and the charts: nothing overlaps, nothing leaves its frame."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from casemate.core.entities import Component, Flow, Principal
from casemate.core.evidence import Cost
from casemate.core.system import System
from casemate.report import charts, picture
from casemate.report._layout import Box, Layout, Link, arrange, layers

from . import cases


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h


def crossings(layout: Layout) -> list[tuple[str, str]]:
    """Stretches of an arrow that run through a box."""
    found = []
    for arrow in layout.arrows:
        for (x1, y1), (x2, y2) in pairwise(arrow.points):
            for box in layout.boxes:
                inside = max(x1, x2) > box.x + 0.5 and min(x1, x2) < box.x + box.w - 0.5
                if inside and max(y1, y2) > box.y + 0.5 and min(y1, y2) < box.y + box.h - 0.5:
                    found.append((arrow.id, box.id))
    return found


@pytest.mark.parametrize("size", [1, 7, 40, 90])
def test_no_two_boxes_overlap_and_no_arrow_crosses_a_box(size: int) -> None:
    system = cases.large(size)
    layout = picture.plan(system, picture.streams(system, ()))
    assert len(layout.boxes) == len(system.components) + len(system.principals)
    assert not [(a.id, b.id) for a, b in combinations(layout.boxes, 2) if overlap(a, b)]
    assert crossings(layout) == []


def test_everything_lies_inside_the_picture_and_its_lane() -> None:
    system = cases.large()
    layout = picture.plan(system, picture.streams(system, ()))
    lanes = {lane.id: lane for lane in layout.lanes}
    for box in layout.boxes:
        assert box.x >= 0 and box.x + box.w <= layout.width
        assert lanes[box.lane].y < box.y and box.y + box.h < lanes[box.lane].y + lanes[box.lane].h
    for arrow in layout.arrows:
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in arrow.points), arrow


def test_arrows_end_at_the_boxes_they_join() -> None:
    system = cases.large()
    rows = {str(r.number): r for r in picture.streams(system, ())}
    layout = picture.plan(system, rows.values())
    boxes = {box.id: box for box in layout.boxes}
    assert len(layout.arrows) == len(rows)
    for arrow in layout.arrows:
        start, end = boxes[rows[arrow.id].start], boxes[rows[arrow.id].end]
        assert arrow.points[0][0] == start.x + start.w and start.y < arrow.points[0][1] < start.y + start.h
        assert arrow.points[-1][0] == end.x and end.y < arrow.points[-1][1] < end.y + end.h


def test_circles_open_where_training_begins() -> None:
    system = cases.system()
    layout = picture.plan(system, picture.streams(system, ()))
    x = {box.id: box.x for box in layout.boxes}
    assert x["trainer"] < x["reader"] < x["feedback"]


def test_layers_survive_circles_and_self_loops() -> None:
    links = [Link("1", "a", "b"), Link("2", "b", "c"), Link("3", "c", "a"), Link("4", "b", "b")]
    assert layers(["a", "b", "c"], links) == {"a": 0, "b": 1, "c": 2}
    layout = arrange({"a": "", "b": "", "c": ""}, [*links, Link("5", "a", "nowhere")], [""])
    assert crossings(layout) == []


def test_the_worst_status_colours_components_and_the_way_to_them() -> None:
    one = cases.assessment()
    tones = picture.tones(one.system, one.findings)
    assert tones["reader"] == "broken"
    assert tones["trainer"] == "unclear"
    assert tones["api reader"] == "broken"
    assert "clearing" not in tones
    drawn = str(picture.draw(one.system, one.findings))
    assert 'class="component stroke-broken"' in drawn
    assert 'marker-end="url(#head-broken)"' in drawn
    assert 'class="glyph"' in drawn  # a shape, not colour alone


def test_hostile_ids_and_kinds_cannot_leave_the_picture() -> None:
    system = System(principals=(Principal(id="p"),), components=(Component(id="c"),), flows=(Flow(from_="p", to="c", data=()),))
    one = cases.finding("EV-02@c#p", "Evasion", status=None)
    drawn = str(picture.draw(replace(system, name="</svg><script>"), (one,)))
    assert "<script" not in drawn
    assert "&lt;/svg&gt;&lt;script&gt;" in drawn


def test_an_empty_system_is_still_a_picture() -> None:
    assert "<svg" in picture.draw(System(), ())


def test_bands_stay_within_zero_and_one() -> None:
    odd = charts.Series(
        "odd", [(1.0, 0.5, -3.0, 9.0), (2.0, float("nan"), 0, 1), (3.0, 1.2, 0.5, float("inf")), (9.0, 0.7, 0.6, 0.8)]
    )
    for one in (odd, replace(odd, steps=False), charts.Series("real", cases.real().curves["own calls"])):
        points = charts.outline(one, 10.0)
        assert points
        assert all(0 <= low <= y <= high <= 1 for _, y, low, high in points)
    drawn = str(charts.curves([odd], "queries"))
    for path in re.findall(r'd="M([^"]*)" class="(?:band|curve)', drawn):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path):
            assert charts._LEFT <= float(x) <= charts._W
            assert charts._TOP <= float(y) <= charts._H - charts._BOTTOM
    assert "nan" not in drawn


def test_no_points_no_chart() -> None:
    assert charts.curves([], "queries") == ""
    assert charts.curves([charts.Series("none", [])], "queries") == ""


def test_a_price_that_was_cut_is_drawn_from_where_it_was_cut() -> None:
    rows = [
        charts.Price("a", "", Cost(None, 1000.0), "broken"),
        charts.Price("b", "", Cost(10.0), "broken"),
        charts.Price("c", "", None, "none"),
    ]
    strips = [str(strip) for _, strip, _ in charts.prices(rows)]
    assert ["arrow" in strip for strip in strips] == [True, False, False]
    assert "> 1,000 queries" not in strips[1]
