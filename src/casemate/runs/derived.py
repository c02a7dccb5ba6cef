"""What a description alone says: every threat as a finding that nobody has tested. Loads and runs none of the user's code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.finding import Assessment
from ..core.system import System
from ..threats.derive import Derivation, derive
from ..threats.load import load
from ..threats.rules import rules_for
from .findings import collect, question_of


def derived(path: str | Path | System, *, rules: Iterable[str | Path] = ()) -> tuple[Derivation, Assessment]:
    """Derive a described system, and put it in the form that every report, gate and comparison reads.

    Args:
        rules: More files or folders with rules.

    Raises:
        BadSystem: The description or a rule cannot be read; carries every problem.
    """
    system = path if isinstance(path, System) else load(path)
    found = derive(system, rules_for(system, rules))
    name = "the system" if isinstance(path, System) else str(path)
    assessment = Assessment(
        name=system.name or Path(name).stem,
        path=name,
        system=system,
        findings=collect(found, system, {}, ()),
        questions=tuple(question_of(q) for q in found.questions),
        hidden=found.hidden,
        budget="none",
        reproduce=f"casemate threats {name}",
        personal=any(a.personal.value != "no" for a in system.assets if a.kind in ("training_data", "input_data")),
    )
    return found, assessment
