"""The rules and taxonomies of a SARIF run: what a threat is, what helps, and what others call it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.evidence import Status
from ..core.finding import SEVERITIES, Finding
from ..threats.rules import Reference, Rule
from .cards import _NAMES as NAMES
from .machine import link_of, named, references, severity_of, unique
from .words import clean

SECURITY = dict(zip(SEVERITIES, ("9.5", "8.0", "5.5", "2.0", "0.0"), strict=True))
_WHAT = {
    "atlas": ("MITRE", "https://atlas.mitre.org"),
    "nist": ("NIST", "https://doi.org/10.6028/NIST.AI.100-2e2025"),
    "owasp_ml": ("OWASP", "https://owasp.org/www-project-machine-learning-security-top-10/"),
    "cwe": ("MITRE", "https://cwe.mitre.org"),
    "aiexchange": ("OWASP", "https://owaspai.org"),
}
_BLANK = re.compile(r"\{([^{}]*)\}")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|!])")


def message(text: Any) -> str:
    """A message string: braces doubled, as the format asks; and no name can become a link."""
    return (clean(text) or "(no text)").replace("](", "] (").replace("{", "{{").replace("}", "}}")


def _plain(text: Any) -> str:
    """Text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", message(text).replace("{{", "{").replace("}}", "}"))


def _code(id: str) -> str:
    """A control by its id, as code where it looks like one."""
    return f"`{id}`" if re.fullmatch(r"[a-z0-9_.]+", id) else _plain(id)


def rule(id: str, findings: Sequence[Finding], rules: Mapping[str, Rule], taxa: Taxa) -> dict[str, Any]:
    """One reportingDescriptor. What is not in the catalogue (a pack that is not here) is described by its first finding."""
    known, first = rules.get(id), findings[0]
    title = known.title if known else first.title
    harm = known.harm.text if known else first.harm
    full = " ".join(part for part in (_asks(known.explain) if known else first.explanation, harm) if part)
    broken = [severity_of(f) for f in findings if f.status is Status.BROKEN]
    cwe = [f"external/cwe/{r.id.lower()}" for r in references(first, rules) if r.taxonomy == "cwe"]
    stride = (known.stride if known else first.stride) or "unknown"
    found: dict[str, Any] = {
        "id": id,
        "name": "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", title)) or "Threat",
        "shortDescription": {"text": message(title)},
        "fullDescription": {"text": message(full or title)},
        "help": _help(title, known, first),
        "properties": {
            "tags": unique(["security", "machine-learning", f"stride/{clean(stride).replace(' ', '-')}", *cwe]),
            "stride": stride,
            "maturity": (known.maturity if known else first.maturity) or "unknown",
            "cell": dict(known.cell) if known else first.cell,
            "precision": "high" if broken else "medium",
        },
        "relationships": taxa.relations(first),
    }
    if broken:
        found["properties"]["security-severity"] = SECURITY[min(broken, key=SEVERITIES.index)]
    if known and known.deprecated_ids:
        found["deprecatedIds"] = list(known.deprecated_ids)
    return found


def _asks(template: str) -> str:
    """The explanation of a rule without an instance: its blanks filled with what they stand for."""
    who = {"p": "the attacker", "c": "the component"}
    text = _BLANK.sub(lambda blank: who.get(blank[1].strip(), "as stated"), template)
    return text[:1].upper() + text[1:]


def _help(title: str, known: Rule | None, first: Finding) -> dict[str, str]:
    """What to do: controls that can be tried, and advice."""
    tried = known.mitigations if known else first.mitigations
    advice = [(a.do, a.effect) for a in known.advice] if known else [(a.get("do", ""), a.get("effect", "")) for a in first.advice]
    lines = [f"{do.rstrip('.')} ({effect.replace('_', ' ')})" for do, effect in advice]
    text = [f"{clean(title)}."]
    text += [f"Controls to try: {', '.join(map(clean, tried))}."] if tried else []
    text += [f"Also: {'; '.join(map(clean, lines))}."] if lines else []
    marked = [f"**{_plain(title)}**", ""]
    marked += [f"- try {_code(id)}: `casemate harden` measures what it changes" for id in tried]
    marked += [f"- {_plain(line)}" for line in lines]
    if not tried and not lines:
        text.append("No control is known that casemate can try.")
        marked.append("No control is known that casemate can try.")
    return {"text": message(" ".join(text)), "markdown": "\n".join(marked)}


class Taxa:
    """The entries that the findings of a run cite, each taxonomy and release a component of its own."""

    def __init__(self, findings: Iterable[Finding], rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self._groups: dict[tuple[str, str], dict[str, Reference]] = {}
        for finding in findings:
            for reference in references(finding, rules):
                self._groups.setdefault((reference.taxonomy, reference.release), {}).setdefault(reference.id, reference)
        order = list(NAMES)
        self._keys = sorted(self._groups, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), key[1]))

    def components(self) -> list[dict[str, Any]]:
        """One toolComponent for each taxonomy: its release and the entries that occur."""
        return [self._component(key) for key in self._keys]

    def _component(self, key: tuple[str, str]) -> dict[str, Any]:
        taxonomy, release = key
        organization, address = _WHAT.get(taxonomy, ("", ""))
        return {
            "name": NAMES.get(taxonomy, taxonomy),
            **({"version": release} if release else {}),
            **({"organization": organization, "informationUri": address} if organization else {}),
            "shortDescription": {"text": f"The entries of {NAMES.get(taxonomy, taxonomy)} that these threats are mapped to."},
            "isComprehensive": False,
            "taxa": [self._taxon(reference) for reference in self._groups[key].values()],
        }

    @staticmethod
    def _taxon(reference: Reference) -> dict[str, Any]:
        link = link_of(reference)
        return {
            "id": reference.id,
            **({"name": named(reference)} if reference.name else {}),
            "shortDescription": {"text": message(named(reference) or reference.id)},
            **({"helpUri": link} if link else {}),
        }

    def supported(self) -> list[dict[str, Any]]:
        return [self._component_reference(key) for key in self._keys]

    def _component_reference(self, key: tuple[str, str]) -> dict[str, Any]:
        return {"name": NAMES.get(key[0], key[0]), "index": self._keys.index(key)}

    def cited_by(self, finding: Finding) -> list[dict[str, Any]]:
        """The entries of one finding, as references."""
        return [self._reference(r) for r in unique(references(finding, self._rules))]

    def _reference(self, reference: Reference) -> dict[str, Any]:
        key = (reference.taxonomy, reference.release)
        near = {"properties": {"fit": "nearest"}} if reference.nearest else {}
        index = list(self._groups[key]).index(reference.id)
        return {"id": reference.id, "index": index, "toolComponent": self._component_reference(key), **near}

    def relations(self, finding: Finding) -> list[dict[str, Any]]:
        """The entries of one rule: of the kind `relevant`."""
        return [
            {"target": {k: v for k, v in cited.items() if k != "properties"}, "kinds": ["relevant"]}
            for cited in self.cited_by(finding)
        ]
