"""The report in a real browser, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from casemate.report.write import write

from . import cases

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    kinds = {
        "overlays": cases.overlays(),
        "hostile": (cases.hostile(),),
        "derived": (cases.derived_only(), cases.hostile_alone(" ".join(cases.HOSTILE))),
        "large": (cases.assessment("large", system=cases.large()),),
    }
    return {name: write(held, folder / name, ("html",), show_personal=True)["html"] for name, held in kinds.items()}


@pytest.mark.parametrize("name", ["overlays", "hostile", "derived", "large"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_errors_requests_or_sideways_scrolling(
    browser: Any, reports: dict[str, Path], name: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(reports[name].as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:image/png")] == [reports[name].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.close()


def test_every_finding_opens_by_keyboard(browser: Any, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(reports["overlays"].as_uri())
    closed = page.locator("details.finding:not([open]) > summary").first
    count = page.locator("details.finding[open]").count()
    closed.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.finding[open]").count() == count + 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Any, reports: dict[str, Path], scheme: str) -> None:
    """WCAG AA (4.5 to 1) for the colours of text, over the paper they stand on."""
    page = browser.new_page(color_scheme=scheme)
    page.goto(reports["overlays"].as_uri())
    names = ["ink", "soft", "broken", "unclear", "question", "untested", "resisted", "link", "bg", "paper"]
    read = "names => Object.fromEntries(names.map(n => [n, getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim()]))"
    colours = page.evaluate(read, names)
    page.close()
    for ground in ("bg", "paper"):
        for name in names[:-2]:
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
