"""One self-contained HTML file: no script, no request, every value escaped, at most `MOST` bytes."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..core.evidence import Status
from ..core.finding import Assessment
from . import asides, charts, costs, picture
from .cards import unchanged
from .compare import Comparison, comparisons
from .coverage import Row, uncovered
from .distances import CAPTIONS, stated_radius
from .health import PAGE, numbers, why_not
from .machine import local
from .meanings import meaning, verdict_words
from .personal import REDACTED
from .stages import ran, skipped
from .view import Limits, Shown, View, leading, opening, title, view
from .words import BUCKETS, TONES, and_more, clean, cost_brief, in_bucket, look, measured, said, short, spread

if TYPE_CHECKING:
    from jinja2 import Environment

MOST = 2_000_000
_STEPS = (
    Limits(),
    Limits(findings=30, compact=40, samples=3, sampled=6, charts=10, lines=40, further=60),
    Limits(findings=15, compact=20, samples=1, sampled=2, charts=4, lines=20, further=30),
    Limits(findings=5, compact=10, samples=0, sampled=0, charts=1, lines=10, chains=4, further=10),
)
_AXES = {
    "queries": "queries to the deployed endpoint, per row",
    "own calls": "calls on an own copy, per row",
    "radius": "radius allowed",
}

_TERMS = {
    "broken": "The attack reached its goal on the deployed decision; the baseline beside it says how often that takes no skill.",
    "resisted": "A healthy attack by this adversary did not reach its goal within this budget. Another adversary or budget may.",
    "unclear": "The attack was unhealthy, failed, or is out of date. This is no evidence of resistance.",
    "untested": "The threat applies, but nothing was measured; the reason stands beside it.",
    "question": "A fact is unknown. Whether the threat applies depends on the answer to an open question.",
}


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """The report. Rows about people are left out unless `show_personal`.

    A report that would be too large is drawn again with less of everything; what was left out is counted in it.
    """
    assessments = [local(a) for a in assessments]
    page = ""
    for limits in _STEPS:
        page = _page(assessments, show_personal, limits)
        if len(page.encode()) <= MOST:
            return page
    return page


def _page(assessments: Sequence[Assessment], show_personal: bool, limits: Limits) -> str:
    views = [view(a, f"s{i}", show_personal, limits) for i, a in enumerate(assessments, 1)]
    style = resources.files(__package__).joinpath("templates", "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    env, lead = _environment(), leading(views)
    # A style element holds raw text: the sheet is ours and has no "<" in it (tested).
    text: str = env.get_template("report.html.j2").render(
        views=views, lead=lead, opening=opening(views), title=title(views),
        more_broken=and_more(sum(v.counts["broken"] for v in views), len(lead)),
        comparisons=comparisons(views), style=Markup(style), policy=policy, limits=limits,  # noqa: S704
        missing=uncovered([v.coverage for v in views]), hatch=costs.hatch(),
        draw=lambda one: picture.draw(one.assessment.system, one.assessment.findings, one.key),
    )  # fmt: skip
    return text


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader("casemate.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_finalize,
    )  # fmt: skip
    env.filters |= {"said": said, "short": short, "cost": cost_brief, "anchor": _anchor}
    env.globals |= {
        "glyph": picture.glyph, "interval_bar": charts.interval_bar, "swatch": charts.swatch, "cost_bar": costs.bar,
        "chain_bar": costs.chain_bar, "streams": picture.streams,
        "measured": measured, "in_bucket": in_bucket, "spread": spread, "ledger": ledger, "unchanged": unchanged,
        "finding_curves": finding_curves, "meaning": meaning, "verdict_words": verdict_words, "curves_title": curves_title,
        "by_phase": by_phase, "verdict_tone": lambda verdict: look(Status(str(verdict))).tone,
        "digest": lambda one: one.assessment.digest(), "terms": _TERMS, "tones": TONES, "buckets": BUCKETS, "redacted": REDACTED,
        "ran": ran, "skipped": skipped, "why_not": why_not, "numbers": numbers, "health_page": PAGE,
    }  # fmt: skip
    macros: Any = env.get_template("macros.html.j2").module
    shared = ("chart_block", "health_block", "checked", "status", "more", "severity", "ruled", "counted", "aside_block")
    env.globals |= {name: getattr(macros, name) for name in shared}
    return env


def _finalize(value: Any) -> Any:
    """Every value that is not our own markup loses its control characters; jinja escapes it next."""
    return value if isinstance(value, Markup) else clean(value)


def _anchor(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text)


def by_phase(cells: Sequence[Row]) -> list[tuple[str, list[tuple[str, Row]]]]:
    """The cells of a coverage under their phase, each with the rest of its name."""
    groups: dict[str, list[tuple[str, Row]]] = {}
    for row in cells:
        phase, _, rest = clean(row.name).partition(", ")
        groups.setdefault(phase, []).append((rest, row))
    return list(groups.items())


def ledger(spent: dict[str, int]) -> list[tuple[str, str]]:
    """What was spent, without the lines that stayed at zero."""
    return [(clean(kind).replace("_", " "), f"{amount:,}") for kind, amount in spent.items() if amount]


def curves_title(one: Shown) -> str:
    """What stands above the curves of a finding: what is drawn against no effort is not called so."""
    return "Who is found" if one.measured and one.measured[0].evidence.case in ("infer", "audit") else "What more effort buys"


def finding_curves(one: Shown, system: Any = None) -> list[charts.Drawn]:
    """The curves of a finding's evidence, those of one kind in one chart. `system` holds the prices."""
    kinds = dict.fromkeys(name for m in one.measured for name in m.evidence.curves)
    found = []
    for kind in kinds:
        held = [m for m in one.measured if m.evidence.curves.get(kind)][: charts.MAX_SERIES]
        if kind in asides.OWN:
            drawn = asides.chart(kind, [(m.id, m.evidence) for m in held], system)
            found += [drawn] if drawn is not None else []
        elif held:
            by_radius = kind == "radius"
            series = [charts.Series(m.evidence.attack, m.evidence.curves[kind], not by_radius) for m in held]
            mark = stated_radius(held[0].evidence) if by_radius else None
            legend = tuple((charts.swatch(i), f"{m.evidence.attack} [{m.id}]") for i, m in enumerate(held))
            nearest = tuple(m.distances for m in held if m.distances) if by_radius else ()
            chart = charts.curves(series, _AXES.get(kind, kind), held[0].evidence.measure, mark)
            found.append(charts.Drawn(chart, legend, CAPTIONS.get(kind, ""), nearest))
    return found


__all__ = ["MOST", "Comparison", "View", "render"]
