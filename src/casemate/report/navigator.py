"""The findings as a layer for the ATLAS Navigator: each technique with the worst status of its threats.

The layer format is 4.3, which is what ATLAS publishes its own layers in; newer Navigators read it too. Several systems
share one layer, because not every Navigator opens a list of them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.finding import Assessment, Finding
from ..threats.rules import Reference
from ..threats.taxonomy import FILES, FOLDER
from .machine import dumps, named, references, rules_of, severity_of, titles, unique
from .words import LOOKS, TONES, clean, worst

DOMAIN = "atlas-atlas"
VERSIONS = {"layer": "4.3", "navigator": "4.6.4"}
# As in the HTML report. Scores only order: a layer that is combined with others keeps what matters most on top.
COLOURS = {
    "broken": ("#e8896a", 100),
    "unclear": ("#e6c86a", 70),
    "untested": ("#b9c1c8", 50),
    "question": ("#c9a0d6", 40),
    "resisted": ("#8fc4dc", 10),
    "none": ("#eef0f1", 0),
}
_TECHNIQUE = re.compile(r"AML\.T\d{4}(\.\d{3})?\Z")


@dataclass(frozen=True, slots=True)
class Cited:
    """A finding that a technique is cited for."""

    system: str
    finding: Finding
    reference: Reference


@functools.cache
def atlas() -> tuple[str, dict[str, dict[str, Any]], dict[str, str]]:
    """The shipped release, its techniques by id, and the Navigator's names of its tactics by id."""
    data = json.loads((FOLDER / FILES["atlas"]).read_text(encoding="utf-8"))
    tactics = {tactic["id"]: tactic["name"].lower().replace(" ", "-") for tactic in data["tactics"]}
    return data["data_version"], {technique["id"]: technique for technique in data["techniques"]}, tactics


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """One layer over all systems. It holds no rows, so there is nothing to redact."""
    release = atlas()[0]
    cited, rest = _cited(assessments)
    none = [_named(system, f, assessments) for system, f, fits in rest if not fits]
    unsaid = [_named(system, f, assessments) for system, f, fits in rest if fits]
    about = [f"Threats derived by casemate, on MITRE ATLAS {release}. A technique has the worst status of its threats."]
    about += [f"No technique fits: {', '.join(none)}."] if none else []
    about += [f"No mapping is stated: {', '.join(unsaid)}."] if unsaid else []
    tones = unique(worst(c.finding.status for c in group) for group in cited.values())
    return dumps(
        {
            "name": f"casemate: {titles(assessments)}",
            "versions": VERSIONS,
            "domain": DOMAIN,
            "description": " ".join(about),
            "sorting": 3,
            "hideDisabled": False,
            "techniques": [entry for id, group in cited.items() for entry in _entries(id, group, cited)] + _parents(cited),
            "gradient": {"colors": ["#eef0f1", "#e8896a"], "minValue": 0, "maxValue": 100},
            "legendItems": [{"label": TONES[tone], "color": COLOURS[tone][0]} for tone in COLOURS if tone in tones],
            "metadata": _metadata(assessments, release, none, unsaid),
        }
    )


def _named(system: str, finding: Finding, assessments: Sequence[Assessment]) -> str:
    return f"{system}: {finding.threat}" if len(assessments) > 1 else finding.threat


def _cited(assessments: Sequence[Assessment]) -> tuple[dict[str, list[Cited]], list[tuple[str, Finding, bool]]]:
    """The findings by technique, and those without one: False beside what no technique fits, True where nobody said."""
    found: dict[str, list[Cited]] = {}
    rest: list[tuple[str, Finding, bool]] = []
    for a in assessments:
        rules = rules_of(a)
        for f in a.findings:
            own = [r for r in references(f, rules) if r.taxonomy == "atlas" and _TECHNIQUE.match(r.id)]
            for reference in own:
                found.setdefault(reference.id, []).append(Cited(a.name, f, reference))
            if not own:
                rest.append((a.name, f, f.rule not in rules or "atlas" not in rules[f.rule].unmapped))
    return dict(sorted(found.items())), rest


def _entries(id: str, group: Sequence[Cited], cited: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A technique once for each of its tactics. A sub-technique goes without, as in ATLAS's own layers: its parent has them."""
    _, techniques, tactics = atlas()
    tone = worst(c.finding.status for c in group)
    colour, score = COLOURS[tone]
    known: Mapping[str, Any] = techniques.get(id, {})
    entry = {
        "techniqueID": id,
        "enabled": True,
        "score": score,
        "color": colour,
        "comment": "\n".join(_line(c) for c in group),
        "metadata": [
            {
                "name": "technique",
                "value": named(group[0].reference) if known else f"not in the shipped release: {group[0].reference.name}",
            },
            {"name": "worst status", "value": TONES[tone]},
            {"name": "threats", "value": str(len(group))},
        ],
    }
    if known.get("parent") or not known:
        return [entry]
    opened = any(techniques[other]["parent"] == id for other in cited if other in techniques)
    return [entry | {"tactic": tactics[tactic], "showSubtechniques": opened} for tactic in known["tactics"]]


def _line(cited: Cited) -> str:
    """One threat of a comment: whose, which, how it stands."""
    f = cited.finding
    severity = severity_of(f)
    near = "; nearest, no technique fits exactly" if cited.reference.nearest else ""
    weight = f", {severity}" if severity != "none" else ""
    return f"{clean(cited.system)}: {clean(f.threat)} {LOOKS[f.status].label.lower()}{weight}{near}"


def _parents(cited: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Techniques that are only opened, so that their sub-techniques are seen."""
    _, techniques, tactics = atlas()
    parents = unique(techniques[id]["parent"] for id in cited if id in techniques and techniques[id]["parent"])
    return [
        {"techniqueID": parent, "tactic": tactics[tactic], "showSubtechniques": True}
        for parent in parents
        if parent not in cited
        for tactic in techniques[parent]["tactics"]
    ]


def _metadata(
    assessments: Sequence[Assessment], release: str, none: Sequence[str], unsaid: Sequence[str]
) -> list[dict[str, str]]:
    rows = [("atlas_data_version", release), ("systems", titles(assessments))]
    rows += [("no technique fits", threat) for threat in none]
    rows += [("no mapping is stated", threat) for threat in unsaid]
    return [{"name": name, "value": clean(value) or "unnamed"} for name, value in rows]
