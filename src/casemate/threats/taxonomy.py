"""The taxonomies of others, as shipped, and the check that the catalogue cites them correctly.

An id alone is not enough: releases rename and reuse them. So every citation stores id, name and release, and all
three must agree with the shipped table.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

from casemate.core.errors import Problem
from casemate.threats.rules import Reference, Rule, catalogue

FOLDER = Path(__file__).parent / "taxonomies"
FILES = {
    "atlas": "atlas-5.6.0.json",
    "nist": "nist-ai-100-2e2025.json",
    "owasp_ml": "owasp-ml-2023.json",
    "cwe": "cwe-4.17.json",
    "aiexchange": "aiexchange-2026.json",
}


@functools.cache
def entries(taxonomy: str) -> tuple[str, dict[str, str]]:
    """The release of a taxonomy and its names by id."""
    data = json.loads((FOLDER / FILES[taxonomy]).read_text(encoding="utf-8"))
    if taxonomy == "atlas":
        listed = [*data["techniques"], *data["tactics"], *data["mitigations"], *data["case_studies"]]
        return data["data_version"], {entry["id"]: entry["name"] for entry in listed}
    return data["release"], {entry["id"]: entry["name"] for entry in data["entries"]}


def full_name(reference: Reference) -> str:
    """The name to print: an ATLAS sub-technique is called after its parent too, as "Model" alone says nothing."""
    names = entries(reference.taxonomy)[1]
    parent = reference.id.rpartition(".")[0]
    if reference.taxonomy == "atlas" and parent in names:
        return f"{names[parent]}: {reference.name}"
    return reference.name


def cited(reference: Reference) -> str:
    """A citation in words: id, name, release, and whether it is only the nearest there is."""
    near = "; nearest, no technique fits exactly" if reference.nearest else ""
    return f"{reference.id} {full_name(reference)} ({reference.release}{near})"


def check_mappings(rules: Iterable[Rule] | None = None) -> tuple[Problem, ...]:
    """Every citation whose id, name or release is not the shipped one. Empty when all are right."""
    problems = []
    for rule in catalogue() if rules is None else rules:
        for named in (*rule.mappings, *(a.reference for a in rule.advice if a.reference)):
            release, names = entries(named.taxonomy)
            where = (rule.place[0], rule.place[1], f"{rule.id}.mappings.{named.taxonomy}")
            if named.id not in names:
                problems.append(Problem(*where, f"{named.id} is not in release {release}"))
            elif names[named.id] != named.name:
                problems.append(Problem(*where, f"{named.id} is called {names[named.id]!r}, not {named.name!r}"))
            if named.release != release:
                problems.append(Problem(*where, f"{named.id} cites release {named.release!r}; shipped is {release!r}"))
    return tuple(problems)
