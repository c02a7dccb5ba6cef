"""Static checks: files that a description names are read, never run or unpickled, and settle facts that rules ask for.

A check answers with what it measured, with what else it found, and with what it could not read: it never passes in
silence. What a file shows beats what the description says, loudly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from casemate.core.errors import Problem, UnknownName
from casemate.core.fact import UNKNOWN, Fact
from casemate.core.system import System
from casemate.threats.checks.dependencies import lock
from casemate.threats.checks.digest import artifact, dataset
from casemate.threats.checks.notebook import outputs
from casemate.threats.checks.outcome import Check, Finding, Measured
from casemate.threats.checks.secrets import literal
from casemate.threats.checks.within import Folder

__all__ = ["CHECKS", "Check", "Checked", "Finding", "Measured", "run"]

CHECKS: dict[str, Check] = {
    "digest.artifact": artifact,
    "digest.dataset": dataset,
    "dependencies.lock": lock,
    "secrets.literal": literal,
    "notebook.outputs": outputs,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of the checks.

    Args:
        system: The description with the measured facts in place of the asserted ones (source `measured`).
        facts: Every fact that was measured, with the file and line that show it.
        conflicts: Sentences, one for each asserted fact that a file contradicts; the measured one counts.
        findings: What was found besides, with file and line.
        problems: What could not be checked, and why. Its facts are as they were.
    """

    system: System
    facts: tuple[Measured, ...] = ()
    conflicts: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()


def run(system: System, only: Iterable[str] | None = None) -> Checked:
    """Run the checks on every component that names a file for them.

    Args:
        only: Names of checks; left out: all.

    Raises:
        UnknownName: for a check that does not exist.
    """
    names = tuple(CHECKS) if only is None else tuple(dict.fromkeys(only))
    for name in names:
        if name not in CHECKS:
            raise UnknownName("check", name, CHECKS)
    folder = Folder(system.folder)
    found = [entry for component in system.components for name in names for entry in CHECKS[name](system, component, folder)]
    facts = tuple(entry for entry in found if isinstance(entry, Measured))
    after, conflicts, counted = _applied(system, facts)
    return Checked(
        system=after,
        facts=counted,
        conflicts=conflicts,
        findings=tuple(entry for entry in found if isinstance(entry, Finding)),
        problems=tuple(entry for entry in found if isinstance(entry, Problem)),
    )


def _applied(system: System, facts: Iterable[Measured]) -> tuple[System, tuple[str, ...], tuple[Measured, ...]]:
    """The system with the facts in it, the contradictions, and the facts that count."""
    conflicts, counted = [], []
    for fact in facts:
        stated = system.fact(fact.path)
        if stated.value is not UNKNOWN and stated.value != fact.value:
            if fact.weak:
                continue
            shown = Fact(fact.path, fact.value).shown
            conflicts.append(
                f"{fact.path}: the description says {stated.shown}, {fact.where} shows {shown}: {fact.because}; "
                f"the measured value counts ({fact.check})"
            )
        system = system.replace_fact(fact.path, fact.value, "measured")
        counted.append(fact)
    return system, tuple(conflicts), tuple(counted)
