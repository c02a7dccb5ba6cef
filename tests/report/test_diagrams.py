"""The data-flow picture outside the report: SVG that any viewer opens, Mermaid, DOT; hostile names change nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from casemate.core.entities import Access, Component, Flow, Principal, Zone
from casemate.core.finding import Assessment
from casemate.core.system import System
from casemate.report import dot, mermaid, svg
from casemate.report.picture import plan, streams
from casemate.runs.derived import derived

from .cases import HOSTILE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SVG = "{http://www.w3.org/2000/svg}"


def forty() -> Assessment:
    """Forty components in five zones, twelve columns deep at most, as a real system is."""
    zones = tuple(Zone(id=f"zone{i}", trust="prod") for i in range(5))
    parts = tuple(Component(id=f"component_number_{i}", kind="preprocess", zone=f"zone{i % 5}") for i in range(40))
    flows = tuple(Flow(from_=f"component_number_{i}", to=f"component_number_{i + 7}", channel="https") for i in range(33))
    return derived(System(name="forty", zones=zones, components=parts, flows=flows))[1]


def hostile() -> Assessment:
    """Names that the language allows are harmless; channels and capabilities are words. What is free is the system's name."""
    return derived(System(
        name="".join(HOSTILE), description=HOSTILE[0],
        zones=(Zone(id="z", trust="public"),), principals=(Principal(id="eve", kind="customer", zone="z"),),
        components=(Component(id="api", kind="server", zone="z"),), flows=(Flow(from_="eve", to="api"),),
        access=(Access(principal="eve", on="api", can=("query",)),),
    ))[1]  # fmt: skip


def test_the_svg_is_one_document_without_script_style_variables_or_links() -> None:
    text = svg.render([forty(), hostile()])
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert not tags & {"script", "foreignObject", "a", "image"}
    assert "var(" not in text and "href" not in text
    assert len(root.findall(f"{SVG}g")) == 2


def test_forty_components_do_not_overlap_and_stay_readable() -> None:
    assessment = forty()
    layout = plan(assessment.system, streams(assessment.system, ()))
    boxes = layout.boxes
    assert len(boxes) == 40
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y, (a.id, b.id)
    root = ET.fromstring(svg.render([assessment]))
    names = [e for e in root.iter(f"{SVG}text") if "box-name" in (e.get("class") or "")]
    assert len(names) == 40 and all(len(e.text or "") <= 18 for e in names)
    assert float(root.get("width", "0")) < 3000


@pytest.mark.parametrize("render", [svg.render, mermaid.render, dot.render])
@pytest.mark.parametrize("path", ["loans/system.yaml", "cheques/device.yaml"])
def test_every_component_and_flow_of_an_example_is_there(render, path) -> None:
    assessment = derived(EXAMPLES / path)[1]
    text = render([assessment])
    for element in (*assessment.system.principals, *assessment.system.components):
        assert element.id in text
    assert render([assessment]) == text


def test_arrows_carry_the_numbers_of_the_list_and_no_blank_behind_them() -> None:
    system = System(
        name="two", components=(Component(id="a", kind="server"), Component(id="b", kind="server")),
        flows=(Flow(from_="a", to="b"), Flow(from_="b", to="a", channel="https")),
    )  # fmt: skip
    assessment = Assessment(name="two", path="", system=system, findings=())
    labels = [e.text for e in ET.fromstring(svg.render([assessment])).iter(f"{SVG}text") if e.get("class") == "flow-label"]
    assert sorted(filter(None, labels)) == ["1", "2 https"]
    assert '|"1"|' in mermaid.render([assessment]) and '|"2 https"|' in mermaid.render([assessment])
    assert 'label="1",' in dot.render([assessment])


def test_mermaid_labels_hold_nothing_that_could_end_them() -> None:
    assert mermaid.escape('a"]; click n0 "x"') == "a#34;#93;#59; click n0 #34;x#34;"
    text = mermaid.render([hostile()])
    assert "<script" not in text and "\x1b" not in text and "](" not in text and text.count("```") == 2


def test_dot_quotes_what_it_is_given() -> None:
    assert dot.quote('a"b\\N\nc') == r'"a\"b\\N\nc"'
    text = dot.render([hostile()])
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    assert "<script>" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", text) and strings


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it() -> None:
    text = dot.render([hostile(), forty()])
    subprocess.run(["dot", "-Tsvg", "-o", "/dev/null"], input=text.encode(), check=True)
