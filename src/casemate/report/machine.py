"""What the outputs for other programs share: rules, references, place and fingerprint of a finding, and JSON safe to print.

Nothing here leaves an absolute path in a file that will be handed on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from ..core.errors import BadSystem
from ..core.evidence import Status, plain
from ..core.finding import SEVERITIES, Assessment, Finding
from ..threats.rules import TAXONOMIES, Reference, Rule, catalogue, rules_for
from ..threats.taxonomy import full_name
from .words import clean

ROOT, BESIDE = "%SRCROOT%", "%DESCRIPTION%"  # what a relative address is relative to: the current folder, the description's
_CITED = re.compile(r"(?P<id>\S+)\s+(?P<name>.*?)(?:\s+\((?P<release>[^();]*)(?P<near>; nearest[^()]*)?\))?\Z", re.DOTALL)
_PATHS = re.compile(r"(?<![\w.:/%])/(?:[\w.+@%-]+/)+([\w.+@%-]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file. `uri` is percent-encoded and relative to `base`, one of `ROOT` and `BESIDE`."""

    uri: str
    base: str
    line: int


def dumps(data: Any) -> str:
    """Strict, sorted JSON in ASCII. Control characters in names become visible escapes, so that no reader can be steered."""
    return json.dumps(_cleaned(data), sort_keys=True, indent=1, allow_nan=False) + "\n"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(key): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return plain(value)


def rules_of(assessment: Assessment) -> Mapping[str, Rule]:
    """The rules that a description is derived with, by id. Rule files that are gone by now are left out."""
    try:
        return {rule.id: rule for rule in rules_for(assessment.system)}
    except (BadSystem, AttributeError):  # a rule file was moved; a system that was made by hand names none
        return {rule.id: rule for rule in catalogue()}


def references(finding: Finding, rules: Mapping[str, Rule]) -> tuple[Reference, ...]:
    """What others call the threat: as the rule says, or, of a rule that is not known here, as the finding says."""
    rule = rules.get(finding.rule)
    if rule is not None:
        return rule.mappings
    found = []
    for taxonomy, entries in finding.mappings.items():
        if taxonomy in TAXONOMIES:
            found += [_reference(taxonomy, entry) for entry in (entries if isinstance(entries, list | tuple) else [entries])]
    return tuple(reference for reference in found if reference.id)


def _reference(taxonomy: str, entry: Any) -> Reference:
    """From `{id, name, release}` or "ID name (release)"."""
    if isinstance(entry, Mapping):
        held = {key: clean(entry.get(key, "")) for key in ("id", "name", "release")}
        return Reference(taxonomy, held["id"], held["name"], held["release"])
    match = _CITED.match(clean(entry).strip())
    if match is None:
        return Reference(taxonomy, clean(entry).strip(), "", "")
    return Reference(taxonomy, match["id"], match["name"], match["release"] or "", bool(match["near"]))


def named(reference: Reference) -> str:
    """The name to print; a sub-technique is called after its parent too."""
    return reference.name if ":" in reference.name else full_name(reference)


def link_of(reference: Reference) -> str:
    """Where the entry is described; nothing for an id that has not the form it should have."""
    forms = {
        "atlas": (r"AML\.T\d{4}(\.\d{3})?", "https://atlas.mitre.org/techniques/{}"),
        "cwe": (r"CWE-(\d+)", "https://cwe.mitre.org/data/definitions/{}.html"),
        "aiexchange": (r"[a-z0-9-]+", "https://owaspai.org/go/{}/"),
    }
    if reference.taxonomy not in forms:
        return ""
    form, address = forms[reference.taxonomy]
    return address.format(reference.id.removeprefix("CWE-")) if re.fullmatch(form, reference.id) else ""


def fingerprint(system: str, threat: str) -> str:
    """The same for one threat of one system in every run, wherever its lines move. 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps([system, threat]).encode()).hexdigest()[:32]


def prints(assessment: Assessment, finding: Finding, rules: Mapping[str, Rule]) -> tuple[str, ...]:
    """The fingerprint of a finding, and those it had under earlier ids of its rule."""
    rule = rules.get(finding.rule)
    old = [finding.threat.replace(finding.rule, id, 1) for id in (rule.deprecated_ids if rule else ())]
    return tuple(fingerprint(assessment.name, threat) for threat in (finding.threat, *old))


def severity_of(finding: Finding) -> str:
    """From the risk where it was worked out, priors included; else from what was measured."""
    found = finding.risk.severity if finding.risk is not None else finding.severity
    return found if found in SEVERITIES else "none"


def basis_of(finding: Finding) -> str:
    """Whether the cost was measured or is an assumption."""
    return finding.risk.basis if finding.risk is not None else "measured" if finding.evidence else "none"


def money_of(finding: Finding) -> tuple[float | None, float | None, str]:
    """The least and the most an attacker pays, and the currency; None where it is not known in money."""
    if finding.risk is not None:
        return finding.risk.low, finding.risk.high, finding.risk.currency
    money = finding.cost.money if finding.cost else None
    return money, money, ""


def questions_of(assessment: Assessment) -> Mapping[str, tuple[str, ...]]:
    """The open questions that each threat waits for, as texts, by threat id."""
    found: dict[str, list[str]] = {}
    for question in assessment.questions:
        text = clean(question.get("text", ""))
        for threat in question.get("threats", ()) if text else ():
            found.setdefault(threat, []).append(text)
    for f in assessment.findings:
        if f.status is Status.QUESTION and f.reason:
            found.setdefault(f.threat, [clean(f.reason)])
    return {threat: tuple(texts) for threat, texts in found.items()}


def place_of(finding: Finding, assessment: Assessment) -> Place | None:
    """The component's line in the description; where that is not known, its first. None of a system that has no file."""
    if finding.file:
        return place(finding.file, finding.line, assessment)
    known = getattr(assessment.system, "places", {}).get(finding.element)
    if known:
        return place(known[0], known[1], assessment)
    return first_line(assessment)


def first_line(assessment: Assessment) -> Place | None:
    """Where the description begins."""
    return place(assessment.path, 1, assessment) if assessment.path.endswith((".yaml", ".yml", ".json")) else None


def element_of(threat: str) -> str:
    """The component in a threat id: `api` of `EV-02@api#customer`."""
    return threat.partition("@")[2].partition("#")[0]


def place(file: str, line: int, assessment: Assessment) -> Place:
    """A file as seen from the current folder, or from the description's folder; of any other, the name alone."""
    at = os.path.abspath(clean(file))
    folder = clean(getattr(assessment.system, "folder", "") or "")
    for base, name in ((os.getcwd(), ROOT), (os.path.abspath(folder) if folder else "", BESIDE)):
        if base.strip(os.sep) and at.startswith(base.rstrip(os.sep) + os.sep):
            return Place(_uri(os.path.relpath(at, base)), name, max(1, line))
    return Place(_uri(os.path.basename(at)), BESIDE, max(1, line))


def seen(file: str) -> str:
    """A file as seen from the current folder; of one elsewhere, the name alone. What is no path stays as it is."""
    if not os.path.isabs(file) and ".." not in PurePosixPath(file.replace(os.sep, "/")).parts:
        return file
    at, here = os.path.abspath(file), os.getcwd()
    inside = at.startswith(here.rstrip(os.sep) + os.sep)
    return os.path.relpath(at, here) if inside else os.path.basename(at)


def local(assessment: Assessment) -> Assessment:
    """The assessment without the folders of this machine, for a file that is handed on."""
    folder = os.path.dirname(assessment.path)

    def text(told: str) -> str:
        told = told.replace(assessment.path, seen(assessment.path)) if os.path.isabs(assessment.path) else told
        for known in (os.getcwd(), folder if os.path.isabs(folder) else ""):
            told = told.replace(known.rstrip(os.sep) + os.sep, "") if known.strip(os.sep) else told
        return told

    return replace(
        assessment, path=seen(assessment.path), reproduce=text(assessment.reproduce),
        findings=tuple(_local(f) for f in assessment.findings), warnings=tuple(map(text, assessment.warnings)),
        conflicts=tuple(map(text, assessment.conflicts)),
    )  # fmt: skip


def _local(finding: Finding) -> Finding:
    held, file = finding.disposed, seen(finding.file)
    if held is not None and seen(held.disposition.place[0]) != held.disposition.place[0]:
        made = held.disposition
        held = replace(held, disposition=replace(made, place=(seen(made.place[0]), made.place[1])))
    return finding if file == finding.file and held is finding.disposed else replace(finding, file=file, disposed=held)


def _uri(path: str) -> str:
    return quote(PurePosixPath(path.replace(os.sep, "/")).as_posix(), safe="/", errors="replace")


def unrooted(text: str) -> str:
    """Text without the folders of this machine: of an absolute path, the name alone."""
    return _PATHS.sub(r"\1", clean(text))


def unique(items: Iterable[Any]) -> list[Any]:
    """Each once, in order."""
    return list(dict.fromkeys(items))


def titles(assessments: Sequence[Assessment]) -> str:
    """The names of the systems, for a heading."""
    return ", ".join(unique(clean(a.name) or "unnamed" for a in assessments)) or "nothing"
